// Just enough of a browser to run the ledger's script on a page: elements, an address, events.
const { elements, source, steps, address } = JSON.parse(require("fs").readFileSync(0, "utf-8"));

class Element {
  constructor({ tag = "", id = "", classes = [], data = {}, text = "" }) {
    Object.assign(this, { tag, id, classes, dataset: data, textContent: text });
    this.hidden = false;
    this.value = "";
    this.listeners = {};
    this.classList = { add: name => this.classes.push(name) };
  }
  addEventListener(name, call) { this.listeners[name] = call; }
  append() {}
  before() {}
  fire(name) { this.listeners[name]({ target: this, preventDefault() {} }); }
}

const all = elements.map(one => new Element(one));
const own = new Element({});
const known = {
  "[data-words]": one => "words" in one.dataset, ".claim": one => one.classes.includes("claim"),
  "pre.copy": one => one.tag === "pre" && one.classes.includes("copy"),
  form: one => one.tag === "form",
};
globalThis.document = {
  title: "Theorems against simulation",
  documentElement: new Element({}),
  getElementById: id => all.find(one => one.id === id) || null,
  querySelectorAll: wanted => all.filter(known[wanted]),
  querySelector: wanted => all.find(known[wanted]),
  createElement: tag => new Element({ tag }),
};
const url = new URL(address, "file:///page.html");
globalThis.location = url;
globalThis.history = { replaceState: (_, __, to) => { url.href = new URL(to, url).href; } };
globalThis.scrollY = 0;
globalThis.innerWidth = 1280;
globalThis.scrollTo = () => {};
globalThis.addEventListener = (name, call) => own.addEventListener(name, call);

(0, eval)(source);
for (const [what, id, value] of steps) {
  if (what === "go") { url.hash = id; own.fire("hashchange"); continue; }
  const one = document.getElementById(id);
  if (what === "set") { one.value = value; one.fire("input"); } else one.fire("click");
}
console.log(JSON.stringify({
  lines: all.filter(one => "words" in one.dataset && !one.hidden).map(one => one.dataset.id),
  claims: all.filter(one => one.classes.includes("claim") && !one.hidden).map(one => one.id),
  index: !document.getElementById("index").hidden,
  count: document.getElementById("count").textContent,
  more: document.getElementById("more").hidden ? "" : document.getElementById("more").textContent,
  title: document.title, address: url.search + url.hash,
}));
