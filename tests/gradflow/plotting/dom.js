// Just enough of a browser to run a page's script: elements by id that remember what is set.
class Element {
  constructor(tag = "DIV", id = "") {
    Object.assign(this, { tagName: tag, id, attributes: {}, dataset: {}, style: {}, listeners: {},
      children: [], textContent: "", className: "", value: "", hidden: false, inner: "" });
  }
  get innerHTML() { return this.inner; }
  set innerHTML(html) {
    this.inner = html;
    this.children = [...html.matchAll(/<(\w+)([^>]*)>/g)].map(([, tag, rest]) => {
      const one = new Element(tag.toUpperCase());
      for (const [, name, value] of rest.matchAll(/([\w-]+)="([^"]*)"/g)) {
        one.attributes[name] = value;
        if (name.startsWith("data-")) one.dataset[name.slice(5)] = value;
        if (name === "class") one.className = value;
        if (name === "id") { one.id = value; byId.set(value, one); }
      }
      return one;
    });
  }
  get valueAsNumber() { return this.value === "" ? NaN : Number(this.value); }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  getAttribute(name) { return this.attributes[name] ?? null; }
  querySelector(wanted) { return this.querySelectorAll(wanted)[0] || null; }
  querySelectorAll(wanted) {
    const [, tag, name, value] = wanted.match(/^(\w*)(?:[.[]([\w-]+))?(?:="([^"]*)"\])?\]?$/) || [];
    return this.children.filter(one => (!tag || one.tagName === tag.toUpperCase())
      && (!name || (value === undefined ? name in one.attributes || one.className.split(" ").includes(name)
        : one.attributes[name] === value)));
  }
  replaceChildren() { this.innerHTML = ""; }
  append(...others) { this.children.push(...others); }
  appendChild(other) { this.children.push(other); return other; }
  remove() { this.removed = true; }
  getBoundingClientRect() { return { left: 0, top: 0, width: 330, height: 330 }; }
  addEventListener(name, call) { (this.listeners[name] ||= []).push(call); }
  fire(name, event = {}) {
    const told = { target: this, preventDefault() {}, pointerId: 1, ...event };
    for (const call of this.listeners[name] || []) call(told);
  }
  focus() { document.activeElement = this; }
  click() { this.fire("click"); }
  setPointerCapture() {}
  getContext() {
    return { createImageData: (w, h) => ({ data: new Uint8ClampedArray(4 * w * h) }), putImageData() {} };
  }
}

const byId = new Map(), clock = { now: 0, frames: [] }, root = new Element("HTML");
globalThis.document = {
  activeElement: null, body: new Element("BODY"), head: new Element("HEAD"), documentElement: root,
  getElementById(id) {
    if (!byId.has(id)) { const input = /^(s\d|z|zPrime|epsilon|scale|speed)$/.test(id);
      byId.set(id, Object.assign(new Element(input ? "INPUT" : "DIV", id), { type: "number" })); }
    return byId.get(id);
  },
  createElement: tag => new Element(tag.toUpperCase()),
  querySelectorAll: wanted => (wanted === "[name=depth]" ? depths : []),
  addEventListener: (name, call) => root.addEventListener(name, call),
};
const depths = [2, 3, 4].map(n => Object.assign(new Element("INPUT"), { value: String(n) }));
globalThis.location = { hash: "" };
globalThis.history = { replaceState: (_, __, hash) => { location.hash = hash; } };
globalThis.addEventListener = (name, call) => root.addEventListener(`window ${name}`, call);
globalThis.requestAnimationFrame = call => clock.frames.push(call);
globalThis.matchMedia = () => ({ matches: true, addEventListener() {} }); // no motion by itself
globalThis.performance = { now: () => clock.now };

/** So many frames of a sixtieth of a second. */
function frames(count) {
  for (let k = 0; k < count; k++) {
    clock.now += 1000 / 60;
    for (const call of clock.frames.splice(0)) call(clock.now);
  }
}
const press = (key, target = new Element("BODY"), more = {}) => root.fire("keydown", { key, target, ...more });
