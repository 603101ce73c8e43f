// The grid of output tiles: where each of them stands, redrawn as events come in.

import { h, setText } from "/static/dom.js";

const NAMES = { waiting: "to do", weights: "weights", single: "drizzled alone", median: "median", final: "done" };
const MOST_HEIGHT = 420;

// Layers that are the same grid are one map; a tile then shows the last phase that it went through.
export function groupLayers(layers, phases) {
  const { separate, final } = layers;
  if (!final) return [];
  const isOne = separate && ["width", "height", "tile", "columns"].every((name) => separate[name] === final[name]);
  const before = phases.filter((phase) => phase !== "final");
  if (isOne || !separate || before.length === 0) return [{ title: "Tiles", layer: final, phases }];
  return [
    { title: "Tiles of the median", layer: separate, phases: before },
    { title: "Tiles of the product", layer: final, phases: phases.filter((phase) => phase === "final") },
  ];
}

export class TileMap {
  constructor({ title, layer, phases }) {
    this.layer = layer;
    this.phases = phases;
    this.state = new Map(layer.tiles.map((tile) => [tile, "waiting"]));
    this.canvas = h("canvas", { role: "img" });
    this.hint = h("p", { className: "hint" }, "\u00a0");
    this.counts = new Map();
    const entries = ["waiting", ...phases].map((phase) => {
      const count = h("span", { className: "number" }, "0");
      this.counts.set(phase, count);
      return h("li", {}, h("i", { className: `swatch ${phase}` }), `${NAMES[phase]} `, count);
    });
    this.element = h(
      "figure",
      { className: "map" },
      h("figcaption", {}, `${title}: ${layer.width} × ${layer.height} pixels in tiles of ${layer.tile}`),
      this.canvas,
      h("ul", { className: "legend" }, entries),
      this.hint,
    );
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => setText(this.hint, "\u00a0"));
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => this.draw();
    this.scheme.addEventListener("change", this.redraw);
  }

  close() {
    this.observer.disconnect();
    this.scheme.removeEventListener("change", this.redraw);
  }

  mark(phase, tile) {
    const rank = this.phases.indexOf(phase);
    if (rank < 0 || !this.state.has(tile)) return;
    if (rank > this.phases.indexOf(this.state.get(tile))) this.state.set(tile, phase);
  }

  get rows() {
    return Math.ceil(this.layer.height / this.layer.tile);
  }

  draw() {
    const { layer, canvas } = this;
    const width = Math.max(1, this.element.clientWidth);
    const scale = Math.min(width / layer.width, MOST_HEIGHT / layer.height);
    const [cssWidth, cssHeight] = [Math.max(1, layer.width * scale), Math.max(1, layer.height * scale)];
    const ratio = devicePixelRatio || 1;
    canvas.style.width = `${cssWidth}px`;
    canvas.style.height = `${cssHeight}px`;
    canvas.width = Math.round(cssWidth * ratio);
    canvas.height = Math.round(cssHeight * ratio);
    const context = canvas.getContext("2d");
    const styles = getComputedStyle(this.element);
    const colours = Object.fromEntries(
      ["waiting", ...this.phases].map((phase) => [phase, styles.getPropertyValue(`--tile-${phase}`).trim()]),
    );
    context.fillStyle = styles.getPropertyValue("--tile-none").trim();
    context.fillRect(0, 0, canvas.width, canvas.height);
    const step = layer.tile * scale * ratio;
    const gap = step > 6 ? ratio : 0;
    const totals = Object.fromEntries(["waiting", ...this.phases].map((phase) => [phase, 0]));
    for (const [tile, phase] of this.state) {
      totals[phase] += 1;
      const column = tile % layer.columns;
      const row = Math.floor(tile / layer.columns);
      const x0 = Math.round(column * step);
      const x1 = Math.min(canvas.width, Math.round((column + 1) * step));
      // Row 0 of the mosaic lies at the bottom, as in every image of the sky.
      const y1 = canvas.height - Math.round(row * step);
      const y0 = Math.max(0, canvas.height - Math.round((row + 1) * step));
      context.fillStyle = colours[phase];
      context.fillRect(x0, y0, Math.max(1, x1 - x0 - gap), Math.max(1, y1 - y0 - gap));
    }
    for (const [phase, count] of this.counts) setText(count, String(totals[phase]));
    const words = Object.entries(totals).map(([phase, count]) => `${count} ${NAMES[phase]}`);
    canvas.setAttribute("aria-label", `Map of ${this.state.size} tiles: ${words.join(", ")}`);
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const { layer } = this;
    const column = Math.floor(((event.clientX - box.left) / box.width) * (layer.width / layer.tile));
    const row = Math.floor(((box.bottom - event.clientY) / box.height) * (layer.height / layer.tile));
    const phase = this.state.get(row * layer.columns + column);
    const place = `column ${column}, row ${row}`;
    setText(this.hint, phase ? `Tile in ${place}: ${NAMES[phase]}` : `${place}: no exposure`);
  }
}
