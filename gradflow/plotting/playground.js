// The playground's page: its controls, its clock, and what it shows of the flow.
"use strict";

const $ = id => document.getElementById(id);
const PLANE = 330, BUDGET = 8; // pixels of the plane; milliseconds of computing in a frame
const STATE = ["t", "loss", "nuclear", "entry", "excess", "distance", "logDet"];
const WORDS = { t: "time t", loss: "loss ℓ", nuclear: "nuclear norm", entry: "|w₁₁|",
  excess: "effective rank − 1", distance: "distance from rank one", logDet: "log |det W|" };

let settings = Measures.read(location.hash), playing = false, before = 0;
let flow = null, trace = null, bounds = null, drawn = false, looks = "", radius = 1;

const observed = () => [settings.z, settings.zPrime, settings.epsilon];
const tell = (text, bad = false) => {
  $("status").textContent = text;
  $("status").className = bad ? "bad" : "";
};

// A run

function begin() {
  keepAddress();
  showSettings();
  flow = null;
  try {
    flow = new Physics.Flow({ w: settings.w, depth: settings.depth, observed: observed() });
  } catch (error) {
    if (!(error instanceof Physics.Refusal)) throw error;
    pause();
    tell(error.message, true);
  }
  $("play").disabled = !flow;
  trace = new Measures.Trace();
  radius = Draw.radiusFor(settings.w, observed());
  if (!flow) {
    drawn = false;
    $("curves").replaceChildren();
    $("numbers").replaceChildren();
    return showMatrix(settings.w);
  }
  bounds = Measures.boundsOf(observed(), flow.state.sign);
  trace.push(Measures.measured(flow.state));
  tell(bounds.applies ? `Razin and Cohen 2020, ${bounds.theorem}, applies: det W(0) has the sign of zz′.`
    : "det W(0) has not the sign of zz′: the theorem says nothing, and the flow finds a solution.");
  show();
}

function outcome() {
  if (flow.stuck) return flow.stuck;
  const { loss, w, t } = flow.state;
  if (loss > Draw.LAST_LOSS) {
    return t < Draw.LAST_TIME ? "" : `The loss hardly falls any more: ${Chart.said(loss)} at t = ${Chart.said(t)}.`;
  }
  return `The loss is below ${Chart.said(Draw.LAST_LOSS)}, |w₁₁| is ${Chart.said(Math.abs(w[0]))}: `
    + (bounds.applies && settings.epsilon === 0 ? "it would go on growing for ever." : "fitted.");
}

function tick(now) {
  if (!playing) return;
  const seconds = Math.min(0.1, (now - before) / 1000), end = performance.now() + BUDGET;
  before = now;
  let left = settings.speed * seconds * Math.LN10;
  while (left > 1e-9 && performance.now() < end && !outcome()) {
    const span = Math.min(left, 0.05), rest = flow.advance(span, 50);
    left -= span - rest;
    trace.push(Measures.measured(flow.state));
  }
  show();
  if (outcome()) {
    pause();
    tell(outcome());
  } else requestAnimationFrame(tick);
}

function play() {
  if (!flow) return;
  if (outcome()) begin();
  playing = true;
  before = performance.now();
  $("play").textContent = "Pause";
  requestAnimationFrame(tick);
}

function pause() {
  playing = false;
  $("play").textContent = "Run";
}

function change(part) {
  settings = { ...settings, ...part };
  begin();
}

// What is shown

function keepAddress() {
  const hash = Measures.written(settings);
  if (hash === location.hash) return;
  try { history.replaceState(null, "", hash); } catch { /* a frame without an address of its own */ }
}

function showSettings() {
  const fill = (id, value) => { if (document.activeElement !== $(id)) $(id).value = value; };
  settings.w.forEach((x, k) => fill(`s${k}`, Number(x.toPrecision(12))));
  for (const name of ["z", "zPrime", "epsilon", "speed"]) fill(name, settings[name]);
  const largest = Math.max(...settings.w.map(Math.abs));
  if (largest > 0) fill("scale", Math.log10(largest));
  $("scale-now").textContent = Chart.said(largest);
  $("speed-now").textContent = `${settings.speed} decades/s`;
  for (const input of document.querySelectorAll("[name=depth]")) {
    input.checked = Number(input.value) === settings.depth;
  }
  $("of1").textContent = `should be z = ${Chart.said(settings.z)}`;
  $("of2").textContent = `should be z′ = ${Chart.said(settings.zPrime)}`;
  $("of3").textContent = `should be ε = ${Chart.said(settings.epsilon)}`;
}

function showMatrix(w) {
  w.forEach((x, k) => { $(`w${k}`).textContent = Chart.said(x); });
  radius = Math.max(radius, Draw.radiusFor(w, observed()));
  const at = Draw.plane(w, observed(), radius, PLANE);
  [["one", "arrow1", 0], ["two", "arrow2", 1]].forEach(([tip, arrow, column]) => {
    const [x, y] = at[tip];
    $(tip).setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
    $(arrow).setAttribute("x2", x.toFixed(1));
    $(arrow).setAttribute("y2", y.toFixed(1));
    $(tip).setAttribute("aria-valuenow", w[column]);
    $(tip).setAttribute("aria-valuetext", `${Chart.said(w[column])}, ${Chart.said(w[column + 2])}`);
  });
  $("area").setAttribute("points", at.area);
  $("line").setAttribute("transform", `translate(0 ${at.line.toFixed(1)})`);
  $("line-name").setAttribute("y", (at.line - 5).toFixed(1));
  $("goal").setAttribute("transform", `translate(${at.goal.map(v => v.toFixed(1)).join(" ")})`);
  const small = radius > 4 * Draw.radiusFor(settings.w, observed()); // names would lie over all
  for (const id of ["line-name", "goal-name"]) $(id).setAttribute("visibility", small ? "hidden" : "visible");
  const [x, y] = at.goal, late = x > PLANE - 150;
  $("goal-name").setAttribute("x", (x + (late ? -8 : 8)).toFixed(1));
  $("goal-name").setAttribute("y", (y + 16).toFixed(1));
  $("goal-name").setAttribute("text-anchor", late ? "end" : "start");
}

function showCurves() {
  const first = $("curves").querySelector("svg.chart"), box = first && first.getBoundingClientRect();
  const size = { width: Math.round(box?.width || 420), height: Math.round(box?.height || 250) };
  const charts = Draw.charts(trace.points, bounds, size);
  // The axes are drawn anew where they have changed; else curves and their ends move.
  const look = JSON.stringify(charts.map(({ width, height, x, y, curves }) => (
    [width, height, x.ticks, y.ticks, y.at(1), x.at(1), curves.map(({ name }) => name)])));
  if (look !== looks || !drawn) {
    looks = look;
    $("curves").innerHTML = charts.map(chart => `<figure><h2>${chart.title}</h2>`
      + `<ul class="key">${Chart.key(chart.curves)}</ul><svg class="chart" role="img" aria-label="${
        Chart.escaped(`${chart.title}: ${chart.y.label} against ${chart.x.label}`)}" viewBox="0 0 ${
        size.width} ${size.height}" preserveAspectRatio="none">${Chart.chart(chart)}</svg></figure>`).join("");
    drawn = true;
    if (!box) return showCurves(); // now that the page knows their size
    return undefined;
  }
  charts.forEach(chart => chart.curves.forEach((curve, c) => {
    if (curve.dash) return; // bounds stay
    $(`${chart.name}-${c}`).setAttribute("d", Chart.path(curve.points, chart));
    const [x, y] = Chart.end(curve.points, chart) || [-9, -9], dot = $(`${chart.name}-end-${c}`);
    dot.setAttribute("cx", x.toFixed(1));
    dot.setAttribute("cy", y.toFixed(1));
  }));
  return undefined;
}

function show() {
  const now = Measures.measured(flow.state);
  showMatrix(flow.state.w);
  if (!$("numbers").children.length) {
    $("numbers").innerHTML = STATE.map(what => (
      `<tr><td>${WORDS[what]}</td><td data-of="${what}"></td></tr>`)).join("");
  }
  for (const cell of $("numbers").querySelectorAll("[data-of]")) {
    const value = now[cell.dataset.of], lost = value === 0 && ["excess", "distance"].includes(cell.dataset.of);
    cell.textContent = lost ? "below 10⁻³⁰⁰" : Chart.said(value);
  }
  showCurves();
  document.body.dataset.loss = now.loss;
}

// Dragging a column

function listenTo(tip, column) {
  const moveTo = (a, b) => {
    const round = v => Number(v.toPrecision(3)), w = [...settings.w], most = Measures.LIMITS.entry;
    w[column] = round(Math.min(most, Math.max(-most, a)));
    w[column + 2] = round(Math.min(most, Math.max(-most, b)));
    const kept = radius;
    change({ w });
    radius = Math.max(kept, radius);
    showMatrix(w);
  };
  let resume = false, from = null;
  tip.addEventListener("pointerdown", event => {
    event.preventDefault();
    tip.focus();
    tip.setPointerCapture(event.pointerId);
    resume = playing;
    pause();
    if (flow && flow.steps) begin(); // it is the start that is dragged
    from = { x: event.clientX, y: event.clientY, a: settings.w[column], b: settings.w[column + 2], radius };
  });
  tip.addEventListener("pointermove", event => {
    if (from === null) return;
    const unit = $("plane").getBoundingClientRect().width / 2 / from.radius;
    radius = from.radius;
    moveTo(from.a + (event.clientX - from.x) / unit, from.b + (from.y - event.clientY) / unit);
  });
  const drop = () => {
    if (from === null) return;
    from = null;
    if (resume) play();
  };
  tip.addEventListener("pointerup", drop);
  tip.addEventListener("pointercancel", drop);
  tip.addEventListener("keydown", event => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const step = (event.shiftKey ? 10 : 1) * 0.02 * Math.max(...settings.w.map(Math.abs), 1e-3);
    moveTo(settings.w[column] + step * move[0], settings.w[column + 2] + step * move[1]);
  });
}

// Controls

function listen() {
  $("play").addEventListener("click", () => (playing ? pause() : play()));
  const reset = () => { pause(); begin(); };
  $("reset").addEventListener("click", reset);
  listenTo($("one"), 0);
  listenTo($("two"), 1);
  const typed = (id, take) => $(id).addEventListener("input", () => {
    const value = $(id).valueAsNumber;
    if (Number.isFinite(value) && Math.abs(value) <= Measures.LIMITS.entry) take(value);
    else {
      pause();
      tell(`This must be a number of at most ${Measures.LIMITS.entry} in size.`, true);
    }
  });
  for (let k = 0; k < 4; k++) typed(`s${k}`, x => change({ w: settings.w.map((v, i) => i === k ? x : v) }));
  for (const name of ["z", "zPrime", "epsilon"]) typed(name, value => change({ [name]: value }));
  $("scale").addEventListener("input", () => {
    const largest = Math.max(...settings.w.map(Math.abs));
    const factor = 10 ** $("scale").valueAsNumber / largest;
    if (largest > 0) change({ w: settings.w.map(x => Number((x * factor).toPrecision(4))) });
  });
  $("speed").addEventListener("input", () => {
    settings.speed = $("speed").valueAsNumber;
    showSettings();
    keepAddress();
  });
  for (const input of document.querySelectorAll("[name=depth]")) {
    input.addEventListener("change", () => change({ depth: Number(input.value) }));
  }
  $("take").addEventListener("click", () => {
    const found = Measures.pasted($("paste").value);
    if (!found) return tell("Paste a matrix like [[0.1, 0], [0, 0.1]], or 2 to 4 such factors in a list.", true);
    try {
      const { state } = new Physics.Flow({ depth: settings.depth, ...found, observed: observed() });
      change({ depth: found.depth || settings.depth, w: state.w });
    } catch (error) {
      if (!(error instanceof Physics.Refusal)) throw error;
      pause();
      tell(error.message, true);
    }
    return undefined;
  });
  document.addEventListener("keydown", event => {
    const { tagName, type } = event.target;
    const typing = tagName === "TEXTAREA" || (tagName === "INPUT" && type === "number");
    if (typing || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === " " && !["BUTTON", "SUMMARY", "INPUT"].includes(tagName)) playing ? pause() : play();
    else if (event.key === "r") reset();
    else if (Measures.DEPTHS.includes(Number(event.key))) change({ depth: Number(event.key) });
    else return;
    event.preventDefault();
  });
  addEventListener("hashchange", () => {
    if (location.hash === Measures.written(settings)) return;
    settings = Measures.read(location.hash);
    begin();
  });
  addEventListener("resize", () => { if (flow) show(); });
}

listen();
pause();
begin();
if (!matchMedia("(prefers-reduced-motion: reduce)").matches) play();
