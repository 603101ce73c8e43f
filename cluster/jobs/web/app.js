// Which view is shown: the part of the address behind the hash says so.

import { ask, describeService } from "/static/api.js";
import { beginNotice, h, setText } from "/static/dom.js";
import { showJob } from "/static/job.js";
import { showJobs } from "/static/jobs.js";
import { showSubmit } from "/static/submit.js";

const main = document.getElementById("main");
let close = () => {};

async function show(service) {
  close();
  close = () => {};
  beginNotice();
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  if (path === "main") return;
  const parameters = new URLSearchParams(query ?? "");
  const job = /^\/jobs\/([0-9a-f]{16})$/.exec(path);
  const view = job
    ? () => showJob(main, service, job[1])
    : path === "/submit"
      ? () => showSubmit(main, service, parameters.get("like"))
      : () => showJobs(main, service, parameters);
  for (const link of document.querySelectorAll("nav a[data-page]")) {
    const isHere = link.dataset.page === (path === "/submit" ? "submit" : "jobs");
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    close = view() ?? (() => {});
  } catch (error) {
    main.replaceChildren(h("p", { className: "alert", role: "alert" }, error.message));
  }
}

async function start() {
  const service = await describeService();
  setText(document.getElementById("who"), service.role === "operator" ? `${service.user} (operator)` : service.user);
  document.getElementById("leave").addEventListener("click", async () => {
    await ask("DELETE", "/session");
    location.assign("/");
  });
  if (/^https?:\/\//.test(service.dashboard)) {
    const link = document.getElementById("dashboard");
    link.href = service.dashboard;
    link.hidden = false;
  }
  addEventListener("hashchange", () => {
    show(service);
    main.focus();
    scrollTo(0, 0);
  });
  show(service);
}

start().catch((error) => {
  main.replaceChildren(h("p", { className: "alert", role: "alert" }, error.message));
});
