// Elements and texts. Texts of users only ever become text nodes.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-") && name !== "list") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// Changes an element only where it differs, so that focus and selection stay.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function notify(text) {
  setText(document.getElementById("notice"), text);
}

let waiting = "";

// A text for the view that comes next; a view begins with it, or with none.
export function notifyNext(text) {
  waiting = text;
}

export function beginNotice() {
  notify(waiting);
  waiting = "";
}

export function noteConnectionLost(error) {
  notify(`Connection lost${error ? ` (${error.message})` : ""}; trying again…`);
}

export function noteConnected() {
  if (document.getElementById("notice").textContent.startsWith("Connection")) notify("");
}

const clock = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
export const formatTime = (seconds) => (seconds ? clock.format(new Date(seconds * 1000)) : "–");

export function formatDuration(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export function formatBytes(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size.toFixed(unit === 0 || size >= 100 ? 0 : size >= 10 ? 1 : 2)} ${units[unit]}`;
}

export const percent = (share) => `${Math.floor(100 * share)} %`;
export const isActive = (job) => ["queued", "running", "cancelling"].includes(job.state);
export const badge = (state) => h("span", { className: `badge ${state}` }, state);

export function progressBar(label, value) {
  return h("progress", { max: 1, value, "aria-label": label });
}

// Buttons for what can happen to a job in its state; whether it can be deleted is a matter of the view.
export function actionButtons(job, act, hasDelete = false) {
  const button = (action, text) =>
    h(
      "button",
      { type: "button", className: action, "aria-label": `${text} job ${job.id}`, onclick: () => act(action) },
      text,
    );
  if (["queued", "running"].includes(job.state)) return [button("cancel", "Cancel")];
  const retry = ["failed", "cancelled"].includes(job.state) ? [button("retry", "Retry")] : [];
  return hasDelete && !isActive(job) ? [...retry, button("delete", "Delete")] : retry;
}
