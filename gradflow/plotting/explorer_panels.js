// The panels of explorer.html: each draws once and adds to `panels` a function that moves it.
// Those over time only move a cursor and dots; bars and heat maps restyle one trace.

const tone = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const [INK, SOFT, EDGE, LINE, OTHERS] = ["ink", "soft", "edge", "line", "others"].map(tone);
const COLOURS = Array.from({ length: 7 }, (_, k) => tone(`c${k}`));
const MARGIN = { l: 66, r: 14, t: 6, b: 22 };
const SHADES = [
  [0, "#00385c"], [0.25, "#0072B2"], [0.4, "#86bcdb"], [0.5, "#f8f8f8"],
  [0.6, "#efb491"], [0.75, "#D55E00"], [1, "#7a3200"],
];
const NAMED = COLOURS.length - 1; // the last is the cursor's
const LEAST = 2 ** -126; // the smallest singular value that is not kept as 0
const panels = [];

// Axes

const axis = {
  fixedrange: true, showline: true, linecolor: EDGE, gridcolor: LINE, zeroline: false,
  ticks: "outside", ticklen: 5, tickcolor: EDGE, tickfont: { size: 12, color: SOFT },
};
const titled = text => ({ title: { text, standoff: 4, font: { size: 12, color: SOFT } } });

function logAxis(range, text) {
  const decades = range[1] - range[0], dtick = decades > 1 ? Math.ceil(decades / 6) : "D2";
  return { ...axis, ...titled(text), type: "log", range, dtick, exponentformat: "power",
    tickfont: { size: 10, color: SOFT } };
}

function logRange(values) {
  const logs = values.filter(x => x !== null).map(Math.log10);
  if (!logs.length) return [-1, 1];
  const top = largestOf(logs), bottom = smallestOf(logs), pad = Math.max(0.06 * (top - bottom), 0.1);
  return [bottom - pad, top + pad];
}

function timeTicks() {
  const first = page.times.findIndex(t => t > 0), from = page.places[first];
  const every = Math.ceil((high - from) / 8) || 1, fine = high - from < 1.5 ? [1, 2, 5] : [1];
  const tickvals = [], ticktext = [], minor = [];
  const name = (digit, k) => {
    if (Math.abs(k) <= 3) return String(Number((digit * 10 ** k).toPrecision(1)));
    return `${digit > 1 ? `${digit}×` : ""}10<sup>${minus(k)}</sup>`;
  };
  for (let k = Math.floor(from); k <= high; k++) {
    for (let digit = 1; digit < 10; digit++) {
      const place = k + Math.log10(digit);
      if (place < from - 1e-9 || place > high + 1e-9) continue;
      if (fine.includes(digit) && k % every === 0) {
        tickvals.push(place);
        ticktext.push(name(digit, k));
      } else if (every === 1) minor.push(place);
    }
  }
  if (first > 0) { // a narrow page has no room for two names there
    if (innerWidth < 760 && tickvals[0] - low < 0.13 * (high - low)) ticktext[0] = "";
    tickvals.unshift(low);
    ticktext.unshift("0");
  }
  return { tickmode: "array", tickvals, ticktext, tickangle: 0,
    minor: { tickmode: "array", tickvals: minor, ticks: "outside", ticklen: 3, tickcolor: EDGE } };
}

function draw(plot, traces, extra) {
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: INK };
  const layout = { margin: MARGIN, showlegend: false, dragmode: false, hovermode: false, font,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", ...extra };
  Plotly.newPlot(plot, traces, layout, { displayModeBar: false, responsive: true, doubleClick: false });
}

function stage(panel) {
  const outer = add("div", panel), plot = add("div", outer);
  outer.className = "stage";
  plot.className = "plot";
  return plot;
}

// Curves over time. At t = 0, left of the first decade, a curve has a point of its own.

const split = values => page.times[0] > 0 ? [page.places, values]
  : [[low, ...page.places], [values[0], null, ...values.slice(1)]];

function traceOf(many, line) {
  const x = [], y = [];
  for (const shown of many) {
    const [places, values] = split(shown);
    x.push(...places, null);
    y.push(...values, null);
  }
  return { x, y, mode: "lines", line };
}

function drawTime(id, curves, { range, title, lowest, others = [] }) {
  const panel = $(`#${id}`), plot = stage(panel), key = panel.querySelector(".key");
  const labelled = lowest || id === "spectrum"; // whose bars beside it have labels there
  const margin = { ...MARGIN, b: lowest ? 40 : labelled ? MARGIN.b : 8 };
  const traces = curves.map(({ shown, colour, dash }) => traceOf([shown], { color: colour, width: 2, dash }));
  if (others.length) traces.unshift(traceOf(others, { color: OTHERS, width: 0.7 }));
  if (page.times[0] === 0) {
    for (const { shown, colour } of curves) {
      const marker = { color: colour, size: 5 };
      traces.push({ x: [low], y: [shown[0]], mode: "markers", marker, cliponaxis: false });
    }
  }
  const clock = page.clock === "t" ? "time t (log scale)" : "iteration (log scale)";
  draw(plot, traces, { margin, yaxis: logAxis(range, title), xaxis: {
    ...axis, ...titled(lowest ? clock : ""), ...timeTicks(), range: [low, high], showticklabels: labelled } });
  const cursor = add("div", plot.parentNode);
  cursor.className = "cursor";
  Object.assign(cursor.style, { top: `${margin.t}px`, bottom: `${margin.b}px` });
  const marks = curves.map(({ name, colour, values, least = -Infinity }) => {
    const dot = add("div", plot.parentNode), item = add("li", key);
    dot.className = "dot";
    dot.style.background = colour;
    item.innerHTML = `<i style="background:${colour}"></i>${name} <b></b>`;
    return { dot, number: item.querySelector("b"), values, least };
  });
  const height = value => value === null ? -1 : (Math.log10(value) - range[0]) / (range[1] - range[0]);
  panels.push(index => {
    const share = (page.places[index] - low) / (high - low);
    const left = `calc(${margin.l}px + ${share} * (100% - ${margin.l + margin.r}px))`;
    cursor.style.left = left;
    for (const { dot, number, values, least } of marks) {
      const up = height(positive(values[index])), top = `${1 - up} * (100% - ${margin.t + margin.b}px)`;
      dot.hidden = up < 0 || up > 1;
      Object.assign(dot.style, { left, top: `calc(${margin.t}px + ${top})` });
      number.innerHTML = values[index] < least ? `&lt; ${written(least)}` : written(values[index]);
    }
  });
  const scrub = ({ clientX }) => {
    const box = plot.getBoundingClientRect(), wide = box.width - margin.l - margin.r;
    moveTo(nearest(low + (high - low) * (clientX - box.left - margin.l) / wide));
  };
  plot.addEventListener("pointerdown", event => {
    stop();
    plot.setPointerCapture(event.pointerId);
    scrub(event);
  });
  plot.addEventListener("pointermove", event => { if (event.buttons & 1) scrub(event); });
}

function drawSeries(id, names, title, lowest) {
  const curves = [], [first, second] = COLOURS;
  for (const [series, name] of Object.entries(names)) {
    const values = page.series[series];
    if (values) curves.push({ name, values, shown: values.map(positive),
      ...(curves.length ? { colour: second, dash: "dash" } : { colour: first }) });
  }
  drawTime(id, curves, { range: logRange(curves.flatMap(curve => curve.shown)), title, lowest });
}

// Singular values, over time and at one moment

function drawSpectrum(stored) {
  const { count, of, truth = [] } = page.spectrum;
  const at = index => Array.from(stored.subarray(index * count, (index + 1) * count));
  const all = Array.from({ length: count }, (_, i) => page.times.map((_, k) => stored[k * count + i]));
  const floor = 1e-16 * largestOf([...all.flat(), ...truth].map(positive));
  const kept = values => values.map(positive).map(x => x > floor ? x : null);
  const shown = all.map(kept), range = logRange([...shown.flat(), ...kept(truth)]);
  const colour = i => i < NAMED ? COLOURS[i] : OTHERS;
  const curves = all.slice(0, NAMED).map((values, i) => (
    { name: `σ<sub>${i + 1}</sub>`, colour: colour(i), values, shown: shown[i], least: LEAST }));
  drawTime("spectrum", curves, { range, title: "σ<sub>i</sub>(W)", others: shown.slice(NAMED) });

  const index = all.map((_, i) => i + 1), plot = stage($("#now"));
  const size = Math.max(5, Math.min(44, 400 / count));
  const hover = what => ({ hovertemplate: `${what}σ<sub>%{x}</sub> = %{y:.4~g}<extra></extra>` });
  draw(plot, [
    { type: "bar", x: index, y: kept(at(LAST)), width: Math.min(0.8, 0.085 * count), ...hover(""),
      marker: { color: index.map((_, i) => colour(i)) } },
    { x: index.slice(0, truth.length), y: kept(truth), mode: "markers", cliponaxis: false, ...hover("truth: "),
      marker: { symbol: "line-ew-open", size, color: INK, line: { width: 2 } } },
  ], {
    margin: { ...MARGIN, l: 48 }, hovermode: "closest", yaxis: logAxis(range, ""),
    xaxis: { ...axis, showgrid: false, range: [0.3, count + 0.7],
      ...(count <= 12 ? { dtick: 1 } : { nticks: 8 }) },
  });
  const entry = (shade, name) => `<li><i class="flat" style="background:${shade}"></i>${name}</li>`;
  $("#now .key").innerHTML = (truth.length ? entry(INK, "truth") : "")
    + (count > NAMED ? entry(OTHERS, `i &gt; ${NAMED}`) : "")
    + (of > count ? `<li>the largest ${count} of ${of}</li>` : "");
  panels.push(k => Plotly.restyle(plot, { y: [kept(at(k))] }, [0]));
}

// W and the truth

function drawHeat(figure, first, z) {
  const { shape, steps } = page.matrix, [rows, columns] = shape;
  const caption = add("figcaption", figure), plot = stage(figure);
  const positions = k => Array.from({ length: shape[k] }, (_, i) => i * steps[k]);
  const edge = (k, name, own) => ({
    ...axis, ...titled(own ? steps[k] > 1 ? `${name} (one in ${steps[k]})` : name : ""),
    showgrid: false, showline: false, showticklabels: own, ticks: own ? "outside" : "",
    constrain: "domain", ...(shape[k] <= 10 ? { dtick: steps[k] } : { nticks: 5 }),
  });
  const printed = { texttemplate: "%{z:.3~g}", textfont: { size: columns <= 3 ? 14 : 11 } };
  draw(plot, [{
    type: "heatmap", x: positions(1), y: positions(0), z, zmin: -1, zmax: 1, colorscale: SHADES,
    showscale: false, hovertemplate: "row %{y}, column %{x}: %{z:.4~g}<extra></extra>",
    ...(rows * columns <= 36 ? printed : {}),
  }], {
    margin: { l: first ? 48 : 8, r: 6, t: 8, b: 38 }, hovermode: "closest", plot_bgcolor: "#c4c4c4",
    xaxis: { ...edge(1, "column", true), range: [-steps[1] / 2, (columns - 0.5) * steps[1]],
      constraintoward: "left" },
    yaxis: { ...edge(0, "row", first), range: [(rows - 0.5) * steps[0], -steps[0] / 2],
      constraintoward: "top", scaleanchor: "x" },
  });
  let before = [];
  return (values, limit, name, largest) => {
    if (before[0] === values && before[1] === limit) return;
    before = [values, limit];
    caption.innerHTML = `<b>${name}</b>, largest |entry| ${written(largest)}`;
    Plotly.restyle(plot, { z: [values], zmin: -limit || -1, zmax: limit || 1 }, [0]);
  };
}

function drawMatrices(read) {
  const { shape, steps, largest, truth } = page.matrix, run = largestOf(largest);
  const figures = Array.from({ length: truth ? 2 : 1 }, () => add("figure", $(".pair")));
  const tall = 260 * shape[0] * steps[0] / (shape[1] * steps[1]); // beside a width of 260 pixels
  $(".pair").style.aspectRatio = (260 * figures.length + 68) / (tall + 70);
  $(".scale div").style.background = `linear-gradient(to right, ${
    SHADES.map(([at, shade]) => `${shade} ${100 * at}%`).join(", ")})`;
  $("#what").hidden = !truth;
  const goal = truth ? read(LAST + 1) : null, of = largest[LAST + 1];
  const showW = drawHeat(figures[0], true, read(LAST));
  const showTruth = truth ? drawHeat(figures[1], false, goal) : () => {};
  const [left, right] = document.querySelectorAll(".scale span");
  panels.push(index => {
    const own = chosen("range"), minusTruth = chosen("what"), w = read(index);
    const z = minusTruth ? w.map((row, i) => row.map((x, j) => x - goal[i][j])) : w;
    const entries = z.flatMap(row => Array.from(row)), finite = entries.filter(Number.isFinite).map(Math.abs);
    const top = minusTruth ? largestOf(finite) : largest[index];
    showW(z, own ? top : run, minusTruth ? "W − truth" : "W", top);
    showTruth(goal, own ? of : run, "truth", of);
    left.innerHTML = own ? "−largest |entry|" : `−${written(run)}`;
    right.innerHTML = own ? "+largest |entry|" : `+${written(run)}`;
    $(".scale em").hidden = finite.length === entries.length;
  });
}
