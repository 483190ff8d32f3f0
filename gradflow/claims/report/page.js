"use strict";
// The index and its filters, whose state is in the address, and the one claim that is named after #.
const FILTERS = ["words", "paper", "verdict", "severity", "evidence"];
const NAMES = [
  [/\b(?:eqs?|eqns?|equations?)\b\.?\s*\(?(\d+)\)?/g, "equation ($1)"],
  [/\bthms?\b\.?/g, "theorem"], [/\blem\b\.?/g, "lemma"], [/\bprop\b\.?/g, "proposition"],
  [/\bcor\b\.?/g, "corollary"], [/\bapp\b\.?/g, "appendix"], [/\berank\b/g, "effective rank"],
];

/** What is looked for: in lower case, with the names of places written out. */
function asked(text) {
  const plain = text.toLowerCase().trim().replace(/\s+/g, " ");
  return NAMES.reduce((all, [short, long]) => all.replace(short, long), plain);
}

/** Whether a text has a phrase; a number in it is a whole one, so that Lemma 5 is not Lemma 51. */
function has(text, phrase) {
  const digit = letter => letter >= "0" && letter <= "9";
  for (let at = text.indexOf(phrase); at >= 0; at = text.indexOf(phrase, at + 1)) {
    const end = at + phrase.length;
    if (!(digit(phrase[0]) && digit(text[at - 1] || " "))
      && !(digit(phrase[phrase.length - 1]) && digit(text[end] || " "))) return true;
  }
  return false;
}

/** Of some texts, which have the phrase; where none has it, which have all of its words. */
function hits(texts, phrase) {
  const whole = texts.map(text => has(text, phrase));
  const parts = phrase.split(" ");
  if (parts.length < 2 || whole.includes(true)) return whole;
  return texts.map(text => parts.every(part => has(text, part)));
}

/** The filters in an address, as text after the question mark. */
function written(state) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) if (value) query.set(name, value);
  return query.toString();
}

function read(query) {
  const found = new URLSearchParams(query);
  return Object.fromEntries([...FILTERS, "more"].map(name => [name, found.get(name) || ""]));
}

function start() {
  const pick = id => document.getElementById(id);
  const index = pick("index"), more = pick("more"), title = document.title;
  const lines = [...document.querySelectorAll("[data-words]")];
  const claims = [...document.querySelectorAll(".claim")];
  const texts = lines.map(line => line.dataset.words);
  let mentions = null, state = read(location.search), place = 0;

  const mentioning = phrase => {
    if (!mentions) mentions = claims.map(claim =>
      claim.textContent.toLowerCase().replace(/\s+/g, " "));
    return mentions.map(text => has(text, phrase));
  };

  function filter() {
    const phrase = asked(state.words);
    const fits = lines.map(line => FILTERS.slice(1).every(
      name => !state[name] || line.dataset[name].split("|").includes(state[name])));
    const first = phrase ? hits(texts, phrase) : lines.map(() => true);
    const also = phrase && phrase.length > 1 ? mentioning(phrase) : first;
    let count = 0, rest = 0;
    lines.forEach((line, k) => {
      const further = fits[k] && !first[k] && also[k];
      const shown = fits[k] && (first[k] || further && state.more);
      line.hidden = !shown;
      count += shown ? 1 : 0;
      rest += further ? 1 : 0;
    });
    pick("count").textContent = count + (count === 1 ? " claim" : " claims");
    more.hidden = !rest;
    more.textContent = state.more ? "Leave out what only mentions it"
      : `Show ${rest} more that mention${rest === 1 ? "s" : ""} it`;
  }

  function keep() {
    const query = written(state);
    try {
      history.replaceState(null, "", (query ? "?" + query : location.pathname) + location.hash);
    } catch (error) { /* a browser that lets no file change its address */ }
    filter();
  }

  function named() {
    const raw = location.hash.slice(1);
    let plain = raw;
    try { plain = decodeURIComponent(raw); } catch (error) { /* a percent sign in an id */ }
    return claims.find(claim => claim.id && (claim.id === plain || claim.id === raw));
  }

  function show() {
    const claim = named();
    if (!index.hidden) place = scrollY;
    index.hidden = Boolean(claim);
    for (const other of claims) other.hidden = other !== claim;
    document.title = claim ? claim.dataset.title : title;
    scrollTo(0, claim ? 0 : place);
  }

  for (const name of FILTERS) {
    pick(name).value = state[name];
    state[name] = pick(name).value; // nothing, of a choice that there is not
    pick(name).addEventListener("input", event => {
      state[name] = event.target.value;
      if (name === "words") state.more = "";
      keep();
    });
  }
  if (innerWidth < 640 || FILTERS.some(name => state[name])) pick("counts").open = false;
  more.addEventListener("click", () => { state.more = state.more ? "" : "1"; keep(); });
  document.querySelector("form").addEventListener("submit", event => event.preventDefault());
  addEventListener("hashchange", show);
  for (const code of document.querySelectorAll("pre.copy")) code.before(copier(code));
  document.documentElement.classList.add("alone");
  filter();
  show();
}

/** A button that copies a text; where that is not allowed it selects the text. */
function copier(code) {
  const line = document.createElement("div"), button = document.createElement("button");
  line.className = "copied";
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent + "\n");
      button.textContent = "Copied";
    } catch (error) {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  line.append(button);
  return line;
}

if (typeof document !== "undefined") start();
