// The form for a new job: built from the description of the parameters, judged by the service while it is filled in.

import { get, post } from "/static/api.js";
import { formatBytes, h, notifyNext, setText } from "/static/dom.js";

const PAUSE_MS = 400;

export function showSubmit(main, service, like) {
  const form = new SubmitForm(main, service);
  form.open(like).catch((error) => {
    main.replaceChildren(h("p", { className: "alert", role: "alert" }, error.message));
  });
  return () => form.close();
}

class SubmitForm {
  constructor(main, service) {
    this.main = main;
    this.service = service;
    this.fields = new Map();
    this.isOpen = true;
    this.serial = 0;
  }

  close() {
    this.isOpen = false;
    clearTimeout(this.timer);
  }

  async open(like) {
    const [document, job] = await Promise.all([get("/parameters"), like ? get(`/jobs/${like}`) : null]);
    if (!this.isOpen) return;
    const { service } = this;
    this.sections = document.sections.map((section) => this.section(section, ""));
    this.sections.push(this.section({ title: "ALIGNMENT", parameters: document.alignment }, "align."));
    const find = h("input", { type: "search", id: "find", oninput: () => this.filter(find.value) });
    this.none = h("p", { className: "empty", hidden: true }, "No parameter is called so.");
    this.verdict = h("p", { role: "status", className: "verdict" });
    this.button = h("button", { className: "primary" }, "Submit");
    const form = h(
      "form",
      { noValidate: true, onsubmit: (event) => this.submit(event), oninput: (event) => this.changed(event) },
      h(
        "fieldset",
        {},
        h("legend", {}, "What to drizzle"),
        this.basic("inputs", "Inputs", h("textarea", { rows: 4, spellcheck: false, required: true }),
          `One a line: files, patterns, @lists, folders, association tables, under ${inputPlaces(service).join(", ")}.`),
        this.basic("output", "Output", h("input", { type: "text", spellcheck: false, required: true }),
          `Root of the product names, in ${service.output_roots.join(", ")}.`),
      ),
      h(
        "fieldset",
        { className: "small" },
        h("legend", {}, "How"),
        this.basic("memory", "Memory", h("input", { type: "text", placeholder: formatBytes(service.job_memory) }), `As 2GiB; at most ${formatBytes(service.memory)}.`),
        this.basic("cores", "Cores", h("input", { type: "number", min: 1, max: service.cores, placeholder: String(service.cores) }), `At most ${service.cores}.`),
        this.basic("tile", "Tile", h("input", { type: "number", min: 16, max: 65536, placeholder: "1024" }), "Side, pixels; changes no result."),
        this.basic("on_error", "At a bad exposure", h("select", {}, h("option", { value: "stop" }, "stop"), h("option", { value: "skip" }, "set it aside and go on")), ""),
        this.basic("priority", "Priority", h("input", { type: "number", min: -100, max: service.role === "operator" ? 100 : 0, placeholder: "0" }), "Higher goes first."),
        this.basic("align", "Align first", h("input", { type: "checkbox" }), "Find the offsets between the exposures; parameters at the end."),
        this.basic("restart", "Start over", h("input", { type: "checkbox" }), "Discard what an earlier run left under this output."),
      ),
      h("h2", {}, "Parameters"),
      h("p", {}, "Those of ", h("code", {}, "mosaic drizzle"), "; only what differs from the default is sent."),
      h("div", { className: "field find" }, h("label", { htmlFor: "find" }, "Find a parameter"), find),
      this.sections.map((section) => section.element),
      this.none,
      h("div", { className: "foot" }, this.button, this.verdict),
    );
    this.main.replaceChildren(h("h1", {}, "Submit a job"), form);
    if (job) this.fill(job.request);
    this.count();
  }

  basic(name, label, input, hint) {
    return this.field({ name, label, input, hint, read: () => readBasic(name, input), write: (value) => writeBasic(name, input, value) });
  }

  section({ title, parameters }, prefix) {
    const count = h("span", { className: "aside" });
    const entries = parameters.map((entry) => ({ name: prefix + entry.name, element: this.parameter(entry, prefix), text: `${entry.name} ${entry.description}`.toLowerCase() }));
    const element = h("details", {}, h("summary", {}, sentence(title), " ", count), h("div", { className: "grid" }, entries.map((entry) => entry.element)));
    return { element, entries, count };
  }

  parameter(entry, prefix) {
    const input = inputOf(entry);
    return this.field({
      name: prefix + entry.name,
      label: h("code", {}, entry.name),
      input,
      hint: entry.description,
      isParameter: true,
      read: () => readParameter(entry, input),
      write: (value) => writeParameter(entry, input, value),
      check: () => problemOf(entry, input),
    });
  }

  field(field) {
    const { name, input } = field;
    input.id = `field-${name}`;
    input.name = name;
    const problem = h("p", { className: "problem", id: `${input.id}-problem` });
    const hint = h("p", { className: "hint", id: `${input.id}-hint` }, field.hint);
    input.setAttribute("aria-describedby", `${input.id}-hint ${input.id}-problem`);
    field.problem = problem;
    field.element = h("div", { className: input.type === "checkbox" ? "field check" : "field" }, h("label", { htmlFor: input.id }, field.label), input, problem, hint);
    this.fields.set(name, field);
    return field.element;
  }

  fill(request) {
    const { align, parameters, ...rest } = request;
    const values = { ...rest, ...parameters, align: align !== false };
    if (align instanceof Object) for (const [name, value] of Object.entries(align)) values[`align.${name}`] = value;
    for (const [name, value] of Object.entries(values)) this.fields.get(name)?.write(value);
    const output = this.fields.get("output");
    output.input.focus();
  }

  request() {
    const request = { inputs: [], output: "", parameters: {} };
    const align = {};
    for (const [name, field] of this.fields) {
      const value = field.read();
      if (value === undefined) continue;
      if (!field.isParameter) request[name] = value;
      else if (name.startsWith("align.")) align[name.slice(6)] = value;
      else request.parameters[name] = value;
    }
    // Parameters of the alignment ask for it, as they do on the command line.
    if (Object.keys(align).length > 0) request.align = align;
    return request;
  }

  count() {
    for (const { entries, count } of this.sections) {
      const changed = entries.filter(({ name, element }) => {
        const isChanged = this.fields.get(name).read() !== undefined;
        element.classList.toggle("changed", isChanged);
        return isChanged;
      });
      setText(count, changed.length ? `${changed.length} changed` : "");
    }
  }

  filter(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    let n_found = 0;
    for (const { element, entries } of this.sections) {
      const found = entries.filter((entry) => {
        const isFound = words.every((word) => entry.text.includes(word));
        entry.element.hidden = !isFound;
        return isFound;
      });
      n_found += found.length;
      element.hidden = found.length === 0;
      element.open = words.length > 0 && found.length > 0;
    }
    this.none.hidden = n_found > 0;
  }

  changed(event) {
    if (event.target.id === "find") return;
    const field = this.fields.get(event.target.name);
    if (field) this.tell(field, field.check?.() ?? "");
    this.count();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.judge(), PAUSE_MS);
  }

  tell(field, message) {
    setText(field.problem, message);
    if (message) field.input.setAttribute("aria-invalid", "true");
    else field.input.removeAttribute("aria-invalid");
  }

  // The service judges the whole request; what is still empty is not held against anybody before it is sent.
  async judge() {
    const serial = ++this.serial;
    const request = this.request();
    try {
      await post("/jobs?dry_run=1", request);
      if (serial === this.serial && this.isOpen) this.show([], "");
    } catch (error) {
      if (serial !== this.serial || !this.isOpen) return;
      const isEmpty = { inputs: request.inputs.length === 0, output: request.output === "" };
      this.show(error.problems.filter((problem) => !isEmpty[problem.field.split(".")[0]]), error.problems.length ? "" : error.message);
    }
  }

  show(problems, message) {
    const left = [];
    const texts = new Map();
    for (const problem of problems) {
      const whole = problem.field.replace(/^parameters\./, "");
      const name = this.fields.has(whole) ? whole : whole.split(".")[0];
      if (this.fields.has(name)) texts.set(name, [...(texts.get(name) ?? []), problem.message]);
      else left.push(problem.message);
    }
    for (const [name, field] of this.fields) this.tell(field, texts.get(name)?.join("; ") ?? field.check?.() ?? "");
    const n_wrong = texts.size;
    const text = [n_wrong ? `${n_wrong} ${n_wrong === 1 ? "field is" : "fields are"} wrong: ${[...texts.keys()].join(", ")}` : "", ...left, message];
    setText(this.verdict, text.filter(Boolean).join("; "));
    this.verdict.classList.toggle("alert", text.some(Boolean));
  }

  async submit(event) {
    event.preventDefault();
    clearTimeout(this.timer);
    this.serial += 1;
    const wrong = [...this.fields.values()].filter((field) => field.check?.());
    if (wrong.length) {
      this.show([], "");
      this.focusOn(wrong[0]);
      return;
    }
    this.button.disabled = true;
    try {
      const job = await post("/jobs", this.request());
      notifyNext(`Job ${job.id} is queued.`);
      location.hash = `#/jobs/${job.id}`;
    } catch (error) {
      this.show(error.problems, error.problems.length ? "" : error.message);
      const first = [...this.fields.values()].find((field) => field.problem.textContent);
      if (first) this.focusOn(first);
    } finally {
      this.button.disabled = false;
    }
  }

  focusOn(field) {
    const details = field.element.closest("details");
    if (details) details.open = true;
    field.element.hidden = false;
    field.input.focus();
  }
}

const inputPlaces = (service) => [...service.input_roots, ...service.buckets.map((bucket) => `s3://${bucket}/`), ...service.output_roots.filter((place) => place.startsWith("s3://"))];

function sentence(title) {
  if (title === "OF OUR OWN") return "Beyond AstroDrizzle";
  return title.charAt(0) + title.slice(1).toLowerCase().replace("wcs", "WCS");
}

const textOf = (value) => (value === null || value === undefined ? "" : Array.isArray(value) ? value.join(" ") : String(value));

function inputOf(entry) {
  const value = textOf(entry.default);
  if (entry.kind === "boolean") return h("input", { type: "checkbox", checked: entry.default });
  if (entry.kind === "choice") {
    return h("select", {}, entry.choices.map((choice) => h("option", { value: choice, selected: choice === value }, choice)));
  }
  const isNumber = entry.kind === "number" || entry.kind === "integer";
  return h("input", { type: "text", value, spellcheck: false, autocomplete: "off", inputMode: isNumber ? "decimal" : "text" });
}

function problemOf(entry, input) {
  const text = (input.value ?? "").trim();
  if (!["number", "integer"].includes(entry.kind)) return "";
  if (text === "") return entry.may_be_blank ? "" : "a value is needed";
  const value = Number(text);
  if (!Number.isFinite(value)) return "must be a number";
  if (entry.kind === "integer" && !Number.isInteger(value)) return "must be a whole number";
  const { gt, ge, lt, le } = entry.limits;
  if (gt !== undefined && value <= gt) return `must be greater than ${gt}`;
  if (ge !== undefined && value < ge) return `must be at least ${ge}`;
  if (lt !== undefined && value >= lt) return `must be less than ${lt}`;
  if (le !== undefined && value > le) return `must be at most ${le}`;
  return "";
}

function readParameter(entry, input) {
  if (entry.kind === "boolean") return input.checked === entry.default ? undefined : input.checked;
  const text = input.value.trim();
  if (text === textOf(entry.default)) return undefined;
  if (text === "") return null;
  const isNumber = (entry.kind === "number" || entry.kind === "integer") && Number.isFinite(Number(text));
  if (!isNumber) return text;
  return Number(text) === entry.default ? undefined : Number(text);
}

function writeParameter(entry, input, value) {
  if (entry.kind === "boolean") input.checked = value === true || value === "true";
  else input.value = textOf(value);
}

function readBasic(name, input) {
  if (input.type === "checkbox") return input.checked ? true : undefined;
  const text = input.value.trim();
  if (name === "inputs") return text.split("\n").map((line) => line.trim()).filter(Boolean);
  if (text === "") return undefined;
  if (["cores", "tile", "priority"].includes(name)) return Number(text);
  return text;
}

function writeBasic(name, input, value) {
  if (value === null || value === undefined) return;
  if (input.type === "checkbox") input.checked = value;
  else input.value = name === "inputs" ? value.join("\n") : String(value);
}
