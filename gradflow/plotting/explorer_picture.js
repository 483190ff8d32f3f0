// The page of explorer.html as it stands, in one PNG: plots are drawn by Plotly, marks and words where they are.

const PIXELS = 2; // of the picture for one of the page
const MARKS = ".cursor, .dot, .key i, .scale div"; // boxes of one colour, or of a row of shades
const WORDS = "h1, body > header p, h2, .key, .facts, figcaption, .scale";

function canvasOf(box) {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  Object.assign(canvas, { width: PIXELS * box.width, height: PIXELS * box.height });
  pen.scale(PIXELS, PIXELS);
  pen.fillStyle = tone("paper");
  pen.fillRect(0, 0, box.width, box.height);
  pen.translate(-box.left, -box.top);
  return { canvas, pen };
}

async function drawPlot(pen, plot) {
  const { left, top, width, height } = plot.getBoundingClientRect(), image = new Image();
  image.src = await Plotly.toImage(plot, { format: "png", width, height, scale: PIXELS });
  await image.decode();
  pen.drawImage(image, left, top, width, height);
}

function drawMark(pen, mark) {
  const { left, top, width, height } = mark.getBoundingClientRect(), style = getComputedStyle(mark);
  if (isCut(mark, top)) return;
  pen.fillStyle = style.backgroundColor;
  if (mark.matches(".scale div")) {
    pen.fillStyle = pen.createLinearGradient(left, 0, left + width, 0);
    for (const [at, shade] of SHADES) pen.fillStyle.addColorStop(at, shade);
  }
  pen.globalAlpha = Number(style.opacity);
  pen.beginPath();
  pen.roundRect(left, top, width, height, Math.min(parseFloat(style.borderTopLeftRadius) || 0, height / 2));
  pen.fill();
  pen.globalAlpha = 1;
}

/** Word by word, since lines may wrap. */
function drawWords(pen, root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), range = document.createRange();
  while (walker.nextNode()) {
    const node = walker.currentNode, style = getComputedStyle(node.parentElement);
    Object.assign(pen, { font: `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`, fillStyle: style.color,
      textBaseline: "middle" });
    for (const { 0: word, index } of node.textContent.matchAll(/\S+/g)) {
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const { left, top, height } = range.getBoundingClientRect();
      if (height && !isCut(node.parentElement, top)) pen.fillText(word, left, top + height / 2);
    }
  }
}

/** Whether a key has no room for what lies there. */
function isCut(element, top) {
  const key = element.closest(".key");
  return key !== null && top >= key.getBoundingClientRect().bottom;
}

/** A canvas with all of the page but its controls. */
async function picture() {
  const whole = document.body.getBoundingClientRect(), bottom = $("main").getBoundingClientRect().bottom + 12;
  const { canvas, pen } = canvasOf({ left: whole.left, top: whole.top, width: whole.width, height: bottom - whole.top });
  const seen = selector => [...document.querySelectorAll(selector)].filter(element => element.getClientRects().length);
  for (const plot of seen(".plot")) await drawPlot(pen, plot);
  for (const mark of seen(MARKS)) drawMark(pen, mark);
  for (const words of seen(WORDS)) drawWords(pen, words);
  return canvas;
}
