// Requests to the service: the same documents as for everybody, with what protects a cookie against other sites.

let csrf = "";

export class Refusal extends Error {
  constructor(status, detail, problems) {
    super(detail);
    this.status = status;
    this.problems = problems ?? [];
  }
}

export async function ask(method, path, body) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Refusal(0, "the service does not answer");
  }
  if (answer.status === 401) {
    location.reload();
    return new Promise(() => {});
  }
  if (answer.status === 204) return null;
  const isJson = (answer.headers.get("content-type") ?? "").startsWith("application/json");
  const content = isJson ? await answer.json() : await answer.text();
  if (!answer.ok) throw new Refusal(answer.status, content.detail ?? answer.statusText, content.problems);
  return content;
}

export const get = (path) => ask("GET", path);
export const post = (path, body) => ask("POST", path, body);

export async function describeService() {
  const service = await get("/service");
  csrf = service.csrf;
  return service;
}
