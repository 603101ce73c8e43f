// One job, live: events come as they happen, documents are asked for at most once a second.

import { ask, get, post } from "/static/api.js";
import {
  actionButtons, badge, formatBytes, formatDuration, formatTime, h, isActive, noteConnected, noteConnectionLost, notify, notifyNext,
  percent, progressBar, setText,
} from "/static/dom.js";
import { groupLayers, TileMap } from "/static/map.js";

const PAUSE_MS = 1000;
const RETRY_MS = 3000;
const LOG_BYTES = 32768;
const PHASES = {
  static: "Pixel statistics", static_mask: "Static mask", sky: "Subtract sky", sky_overlaps: "Match sky",
  weights: "Weights", single: "Separate drizzle", median: "Median", cosmic_rays: "Blot, cosmic rays",
  final: "Final drizzle", export: "Export",
};

export function showJob(main, service, id) {
  const view = new JobView(main, id);
  view.open();
  return () => view.close();
}

class JobView {
  constructor(main, id) {
    this.id = id;
    this.isOpen = true;
    this.isDirty = false;
    this.isBusy = false;
    this.maps = [];
    this.marks = [];
    this.hasPicture = true;
    this.main = main;
  }

  open() {
    this.state = h("span");
    this.actions = h("span", { className: "actions" });
    this.error = h("p", { className: "alert", role: "alert", hidden: true });
    this.facts = h("dl", { className: "facts" });
    this.bar = progressBar("Progress", 0);
    this.share = h("span", { className: "number" });
    this.phases = h("tbody");
    this.mapPlace = h("div", {}, h("p", { className: "empty" }, "The tiles are known once the job was planned."));
    this.picture = h("img", { className: "preview", alt: "What is finished of the mosaic", hidden: true });
    this.noPicture = h("p", { className: "empty" }, "No tile of the product is finished yet.");
    this.picture.addEventListener("load", () => this.showPicture(true));
    this.picture.addEventListener("error", () => this.showPicture(false));
    this.timing = h("div");
    this.memory = h("div");
    this.plan = h("dl", { className: "facts" });
    this.log = h("pre", { tabIndex: 0, role: "region", "aria-label": "End of the log" });
    this.products = h("ul", { className: "paths" });
    this.productPart = h("section", { hidden: true }, h("h2", {}, "Products"), this.products);
    this.report = h("a", { href: `/jobs/${this.id}/report`, target: "_blank", rel: "noopener", hidden: true }, "Report");
    const table = h(
      "table",
      { className: "phases" },
      h("caption", { className: "hidden" }, "Phases"),
      h("thead", {}, h("tr", {}, ["Phase", "Progress", "Tasks", "Work"].map((text) => h("th", { scope: "col" }, text)))),
      this.phases,
    );
    this.main.replaceChildren(
      h("p", { className: "crumbs" }, h("a", { href: "#/" }, "Jobs"), " / ", h("code", {}, this.id)),
      h("div", { className: "title" }, h("h1", {}, "Job ", h("code", {}, this.id.slice(0, 8))), this.state, this.actions, this.report,
        h("a", { href: `#/submit?like=${this.id}` }, "Submit one like it")),
      this.error,
      h("div", { className: "overall" }, this.bar, this.share),
      h(
        "div",
        { className: "panels" },
        h("section", {}, h("h2", {}, "Tile grid"), this.mapPlace),
        h("section", {}, h("h2", {}, "Preview"), this.noPicture, this.picture),
        h("section", {}, h("h2", {}, "Phases"), table),
        h("section", {}, h("h2", {}, "Against the plan"), this.timing, this.memory, h("details", {}, h("summary", {}, "Whole plan"), this.plan)),
      ),
      this.productPart,
      h("section", {}, h("h2", {}, "Job"), this.facts),
      h("section", {}, h("h2", {}, "Log"), this.log),
    );
    this.timer = setInterval(() => this.turn(), PAUSE_MS);
    this.begin();
  }

  close() {
    this.isOpen = false;
    clearInterval(this.timer);
    clearTimeout(this.retry);
    this.source?.close();
    for (const map of this.maps) map.close();
  }

  // Everything anew: documents first, then the events behind them.
  async begin() {
    this.source?.close();
    try {
      const tiles = await get(`/jobs/${this.id}/tiles`);
      await this.refresh();
      if (!this.isOpen) return;
      this.marks = [];
      this.showTiles(tiles);
      this.listen(tiles.events);
      noteConnected();
    } catch (error) {
      if (!this.isOpen) return;
      if (error.status === 404) {
        this.main.replaceChildren(h("h1", {}, "No such job"), h("p", {}, `There is no job ${this.id}, or it belongs to somebody else.`));
        this.close();
        return;
      }
      noteConnectionLost(error);
      this.retry = setTimeout(() => this.begin(), RETRY_MS);
    }
  }

  listen(after) {
    const source = new EventSource(`/jobs/${this.id}/events?after=${after}`);
    this.source = source;
    source.addEventListener("task", (event) => {
      const task = JSON.parse(event.data);
      if (task.tile !== null) {
        this.marks.push([task.phase, task.tile]);
        for (const map of this.maps) map.mark(task.phase, task.tile);
        this.isMapDirty = true;
      }
      if (task.phase === "final") this.isPictureDirty = true;
      this.isDirty = true;
    });
    for (const kind of ["state", "memory", "message", "attempt", "end"]) {
      source.addEventListener(kind, () => (this.isDirty = true));
    }
    for (const kind of ["begin", "plan"]) {
      source.addEventListener(kind, () => {
        this.areTilesDirty = true;
        this.isDirty = true;
      });
    }
    source.addEventListener("over", () => {
      source.close();
      this.isPictureDirty = true;
      this.isDirty = true;
    });
    source.addEventListener("error", () => {
      if (!this.isOpen || source !== this.source) return;
      source.close();
      noteConnectionLost();
      clearTimeout(this.retry);
      this.retry = setTimeout(() => this.begin(), RETRY_MS);
    });
  }

  async turn() {
    if (this.isMapDirty) {
      this.isMapDirty = false;
      for (const map of this.maps) map.draw();
    }
    if (this.job && isActive(this.job)) this.showTiming();
    if (this.isPictureDirty) {
      this.isPictureDirty = false;
      this.askPicture();
    }
    if (!this.isDirty || this.isBusy) return;
    this.isDirty = false;
    this.isBusy = true;
    try {
      if (this.areTilesDirty) await this.refreshTiles();
      await this.refresh();
    } catch {
      this.isDirty = true;
    } finally {
      this.isBusy = false;
    }
  }

  // Other grids, or others finished; tiles that are told of while the answer is on its way are not forgotten.
  async refreshTiles() {
    this.marks = [];
    const tiles = await get(`/jobs/${this.id}/tiles`);
    if (!this.isOpen) return;
    this.areTilesDirty = false;
    this.showTiles(tiles);
  }

  async refresh() {
    const [job, log] = await Promise.all([get(`/jobs/${this.id}`), get(`/jobs/${this.id}/log?tail=${LOG_BYTES}`)]);
    if (!this.isOpen) return;
    const wasOver = this.job && !isActive(this.job);
    this.job = job;
    if (wasOver && isActive(job) && this.source?.readyState === EventSource.CLOSED) this.begin();
    this.showState();
    this.showPhases();
    this.showTiming();
    this.showMemory();
    const isAtEnd = this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 8;
    setText(this.log, log || "Nothing yet.");
    if (isAtEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  async act(action) {
    if (action === "delete") {
      await this.remove();
      return;
    }
    try {
      await post(`/jobs/${this.id}/${action}`);
      notify(action === "cancel" ? "Asked to stop; what is finished is kept." : "Queued again; it continues from what is finished.");
    } catch (error) {
      notify(error.message);
    }
    try {
      await this.refresh();
    } catch {
      this.isDirty = true;
    }
    if (this.source?.readyState === EventSource.CLOSED) this.begin();
    if (!this.actions.contains(document.activeElement)) this.actions.querySelector("button")?.focus();
  }

  async remove() {
    const kept = "Its record, log and preview go. Its products and the job folder of the mosaic stay where they are.";
    if (!confirm(`Delete job ${this.id}?\n\n${kept}`)) return;
    try {
      await ask("DELETE", `/jobs/${this.id}`);
    } catch (error) {
      notify(error.message);
      return;
    }
    notifyNext(`Job ${this.id} is deleted; its products stay.`);
    location.hash = "#/";
  }

  showState() {
    const { job } = this;
    document.title = `${job.state} ${percent(job.done)} · ${job.id.slice(0, 8)} · mosaic`;
    if (this.shown !== job.state) {
      this.state.replaceChildren(badge(job.state));
      this.actions.replaceChildren(...actionButtons(job, (action) => this.act(action), true));
      this.shown = job.state;
    }
    this.error.hidden = !job.error;
    setText(this.error, job.error);
    this.bar.value = job.done;
    setText(this.share, percent(job.done));
    this.report.hidden = !job.outcome;
    const products = job.outcome?.products ?? [];
    this.productPart.hidden = products.length === 0;
    this.products.replaceChildren(...products.map((path) => h("li", {}, h("code", {}, path))));
    const changed = Object.entries(job.request.parameters).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
    list(this.facts, [
      ["Output", job.output],
      ["Inputs", summary(job.request.inputs)],
      ["Alignment", alignment(job.request.align)],
      ["Parameters", changed.join(", ") || "all as by default"],
      ["Owner", job.owner],
      ["Priority", String(job.priority)],
      ["Submitted", formatTime(job.created)],
      ["Started", formatTime(job.started)],
      ["Ended", formatTime(job.ended)],
      ["Attempts", String(job.attempts)],
      ["Cores", String(job.cores)],
      ["Set aside", (job.outcome?.rejected ?? []).join("; ") || "none"],
    ]);
  }

  showPhases() {
    const phases = this.job.progress.phases;
    if (this.phases.children.length !== phases.length) {
      this.phases.replaceChildren(
        ...phases.map((phase) => {
          const name = PHASES[phase.name] ?? phase.name;
          return h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, progressBar(name, 0)), h("td", { className: "number" }), h("td", { className: "number" }));
        }),
      );
    }
    phases.forEach((phase, index) => {
      const [, bar, tasks, work] = this.phases.children[index].children;
      bar.firstChild.value = phase.tasks ? phase.done / phase.tasks : 1;
      setText(tasks, `${phase.done} / ${phase.tasks}`);
      setText(work, formatDuration(phase.seconds));
    });
    this.phases.parentElement.hidden = phases.length === 0;
  }

  showTiming() {
    const { job } = this;
    const estimate = job.progress.plan.estimated_s;
    const end = job.ended ?? Date.now() / 1000;
    const took = job.started ? Math.max(0, end - job.started) : 0;
    const text = job.started
      ? `${formatDuration(took)}${isActive(job) ? " so far" : ""}${estimate ? `; about ${formatDuration(estimate)} were expected` : ""}`
      : "not started";
    this.timing.replaceChildren(meter("Time", text, [[took, "used"]], estimate ? [[estimate, "expected"]] : []));
  }

  showMemory() {
    const { plan, memory, peak_memory: peak } = this.job.progress;
    if (!plan.peak_bytes) {
      this.memory.replaceChildren();
      return;
    }
    const now = isActive(this.job) && memory ? `${formatBytes(memory)} now, ` : "";
    const text = `${now}${formatBytes(peak)} at most; ${formatBytes(plan.peak_bytes)} stated, ${formatBytes(plan.granted_bytes)} granted`;
    this.memory.replaceChildren(
      meter("Memory", text, [[peak, "peak"], [now ? memory : 0, "used"]], [[plan.peak_bytes, "stated"], [plan.granted_bytes, "granted"]]),
    );
    list(this.plan, plan.rows ?? []);
  }

  showTiles(tiles) {
    const phases = Object.keys(tiles.done);
    const groups = groupLayers(tiles.layers, phases);
    if (groups.length === 0) return;
    for (const map of this.maps) map.close();
    this.maps = groups.map((group) => new TileMap(group));
    for (const map of this.maps) {
      for (const [phase, done] of Object.entries(tiles.done)) for (const tile of done) map.mark(phase, tile);
      for (const [phase, tile] of this.marks) map.mark(phase, tile);
    }
    this.mapPlace.replaceChildren(...this.maps.map((map) => map.element));
    for (const map of this.maps) map.draw();
    if ((tiles.done.final ?? []).length > 0) this.askPicture();
  }

  askPicture() {
    this.picture.src = `/jobs/${this.id}/preview.png?at=${Date.now()}`;
  }

  showPicture(isThere) {
    this.picture.hidden = !isThere;
    this.noPicture.hidden = isThere;
  }
}

// A bar of what was used, with marks at what was stated.
function meter(title, text, values, marks) {
  const full = Math.max(...values.map(([value]) => value), ...marks.map(([value]) => value), 1e-9);
  const bar = h("div", { className: "meter", "aria-hidden": "true" });
  for (const [value, kind] of values) {
    const part = h("i", { className: kind });
    part.style.width = `${(100 * value) / full}%`;
    bar.append(part);
  }
  for (const [value, kind] of marks) {
    const mark = h("b", { className: kind, title: kind });
    mark.style.left = `${(100 * value) / full}%`;
    bar.append(mark);
  }
  return h("div", { className: "measure" }, h("h3", {}, title), h("p", {}, text), bar);
}

function list(element, rows) {
  const text = JSON.stringify(rows);
  if (element.dataset.shown === text) return;
  element.dataset.shown = text;
  element.replaceChildren(...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function alignment(choice) {
  if (!choice) return "none";
  const changed = Object.entries(choice instanceof Object ? choice : {});
  return changed.map(([name, value]) => `${name} = ${JSON.stringify(value)}`).join(", ") || "with the defaults";
}

function summary(inputs) {
  return inputs.length > 6 ? `${inputs.slice(0, 6).join(", ")} and ${inputs.length - 6} more` : inputs.join(", ");
}
