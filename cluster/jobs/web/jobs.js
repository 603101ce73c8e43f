// The list of jobs, looked at again every two seconds.

import { get, post } from "/static/api.js";
import {
  actionButtons, badge, formatBytes, formatDuration, formatTime, h, isActive, noteConnected, noteConnectionLost, notify, percent,
  progressBar, setText,
} from "/static/dom.js";

const PAUSE_MS = 2000;
const PAGE = 50;
const CHOICES = [
  ["all", "All", []],
  ["active", "Active", ["queued", "running", "cancelling"]],
  ["done", "Done", ["done"]],
  ["failed", "Failed", ["failed"]],
  ["cancelled", "Cancelled", ["cancelled"]],
];

export function showJobs(main, service, parameters) {
  const chosen = CHOICES.find(([name]) => name === parameters.get("show")) ?? CHOICES[0];
  const rows = new Map();
  const body = h("tbody");
  const empty = h("p", { className: "empty", hidden: true });
  const more = h("button", { type: "button", className: "quiet", hidden: true, onclick: () => grow() }, "Older jobs");
  let limit = PAGE;
  let timer = 0;
  let isOpen = true;

  const table = h(
    "table",
    { className: "jobs" },
    h("caption", { className: "hidden" }, "Jobs, newest first"),
    h(
      "thead",
      {},
      h("tr", {}, ["Job", "State", "Progress", "Output", "Owner", "Submitted", "Took", ""].map((text) =>
        h("th", { scope: "col" }, text === "" ? h("span", { className: "hidden" }, "Actions") : text))),
    ),
    body,
  );
  main.replaceChildren(
    h("h1", {}, "Jobs"),
    h(
      "div",
      { className: "bar" },
      h("div", { className: "choices", role: "group", "aria-label": "Which jobs" }, CHOICES.map(([name, text]) =>
        h("a", { href: `#/?show=${name}`, "aria-current": name === chosen[0] ? "true" : null }, text))),
      h("span", { className: "aside" }, `${service.cores} cores and ${formatBytes(service.memory)} for all jobs`),
      h("a", { className: "button", href: "#/submit" }, "Submit a job"),
    ),
    table,
    empty,
    more,
  );

  function grow() {
    limit = Math.min(500, limit + PAGE);
    refresh();
  }

  async function act(job, action) {
    try {
      await post(`/jobs/${job.id}/${action}`);
      notify(`Job ${job.id}: ${action === "cancel" ? "cancelling" : "queued again"}`);
    } catch (error) {
      notify(error.message);
    }
    refresh();
  }

  function row(job) {
    const cells = {
      state: h("td", { "data-label": "State" }),
      progress: h("td", { "data-label": "Progress", className: "progress" }),
      took: h("td", { "data-label": "Took", className: "number" }),
      actions: h("td", { className: "actions" }),
    };
    const line = h(
      "tr",
      {},
      h("th", { scope: "row" }, h("a", { href: `#/jobs/${job.id}` }, h("code", {}, job.id.slice(0, 8)))),
      cells.state,
      cells.progress,
      h("td", { "data-label": "Output", className: "path", title: job.output }, shorten(job.output)),
      h("td", { "data-label": "Owner" }, job.owner),
      h("td", { "data-label": "Submitted" }, formatTime(job.created)),
      cells.took,
      cells.actions,
    );
    const bar = progressBar(`Progress of job ${job.id}`, job.done);
    const text = h("span", { className: "number" });
    cells.progress.append(bar, text);
    let shown = "";
    return {
      line,
      update(now) {
        if (shown !== now.state) {
          cells.state.replaceChildren(badge(now.state));
          cells.actions.replaceChildren(...actionButtons(now, (action) => act(now, action)));
          shown = now.state;
        }
        cells.state.title = now.error;
        bar.value = now.done;
        setText(text, percent(now.done));
        const end = now.ended ?? (isActive(now) ? Date.now() / 1000 : now.started);
        setText(cells.took, now.started && end >= now.started ? formatDuration(end - now.started) : "–");
      },
    };
  }

  async function refresh() {
    clearTimeout(timer);
    try {
      const states = chosen[2].map((state) => `&state=${state}`).join("");
      const page = await get(`/jobs?limit=${limit}${states}`);
      if (!isOpen) return;
      const lines = page.jobs.map((job) => {
        if (!rows.has(job.id)) rows.set(job.id, row(job));
        rows.get(job.id).update(job);
        return rows.get(job.id).line;
      });
      // Rows that stay where they are keep the focus.
      lines.forEach((line, index) => {
        if (body.children[index] !== line) body.insertBefore(line, body.children[index] ?? null);
      });
      while (body.children.length > lines.length) body.lastElementChild.remove();
      table.hidden = lines.length === 0;
      empty.hidden = lines.length > 0;
      setText(empty, chosen[0] === "all" ? "No job was submitted yet." : `No job is ${chosen[1].toLowerCase()}.`);
      more.hidden = page.next === null || limit >= 500;
      noteConnected();
    } catch (error) {
      if (isOpen) noteConnectionLost(error);
    }
    if (isOpen) timer = setTimeout(refresh, PAUSE_MS);
  }

  refresh();
  return () => {
    isOpen = false;
    clearTimeout(timer);
  };
}

function shorten(path) {
  const scheme = path.startsWith("s3://") ? "s3://" : "";
  const parts = path.slice(scheme.length).split("/");
  return parts.length > 3 ? `${scheme}…/${parts.slice(-2).join("/")}` : path;
}
