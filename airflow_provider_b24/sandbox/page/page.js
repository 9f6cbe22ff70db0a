// The page of the sandbox portal: asks for the state every second, and draws the parts that have changed.
const $ = (id) => document.getElementById(id);
const shown = new Map(); // what each part was drawn from
const open = new Set(); // processes that someone has unfolded
let state = null, tag = "", ahead = 0, kind = "", board = "", messageTimer = 0;

function h(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function draw(id, from, make) {
  const told = JSON.stringify(from);
  if (shown.get(id) === told) return;
  shown.set(id, told);
  $(id).replaceChildren(...make());
}

const empty = (text) => [h("p", { className: "empty" }, text)];
const now = () => (state?.ahead === null ? state.now : Date.now() / 1000 + ahead);
const clockTime = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
const milliseconds = (seconds) => (seconds === null ? "" : seconds < 0.001 ? "<1 ms" : seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`);

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

// Text that grows older by itself.
function ageing(since, until) {
  const element = h("span", { className: "ageing" });
  element.dataset.since = since;
  if (until !== null) element.dataset.until = until;
  age(element);
  return element;
}

function age(element) {
  const { since, until } = element.dataset;
  const left = until === undefined ? "" : `, goes on by itself in ${duration(until - now())}`;
  element.textContent = `since ${duration(now() - since)}${left}`;
}

function say(text) {
  $("message").textContent = text;
  $("message").hidden = false;
  clearTimeout(messageTimer);
  messageTimer = setTimeout(() => { $("message").hidden = true; }, 8000);
}

async function send(method, path, body) {
  try {
    const response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const told = response.status === 204 ? null : await response.json();
    if (!response.ok) {
      say(told?.detail ?? `The portal answered ${response.status}`);
      return null;
    }
    await refresh();
    return told ?? true;
  } catch {
    say("The portal does not answer");
    return null;
  }
}

const button = (text, act, className = "") => h("button", { type: "button", className, onclick: act }, text);

// Processes

function processCard(process) {
  const waiting = process.waiting;
  const summary = h("summary", {},
    h("span", { className: `pill ${process.status}` }, process.status),
    h("strong", {}, process.document_name),
    h("code", { className: "soft" }, process.document_id[2]),
    waiting ? h("span", {}, `waits for ${waiting.for} `, ageing(waiting.since, waiting.until)) : "",
    process.problems.length ? h("span", { className: "bad" }, `${process.problems.length} problem${process.problems.length > 1 ? "s" : ""}`) : "",
    h("span", { className: "soft" }, clockTime(process.started)));
  const calls = process.timeline.filter((moment) => moment.call !== undefined);
  const element = h("details", { className: "process", id: `process-${process.id}`, open: open.has(process.id) }, summary,
    waiting ? h("p", { className: waiting.lost ? "why bad" : "why" }, `Waits at ${waiting.activity}: ${waiting.why}.`) : "",
    h("ol", { className: "timeline" }, ...process.timeline.map(momentRow)),
    h("div", { className: "row" },
      calls.length ? button("Send the last call again", () => again(calls.at(-1).call)) : "",
      waiting ? button("Terminate", () => send("POST", `/sandbox/processes/${process.id}/terminate`)) : "",
      h("code", { className: "soft" }, process.id)));
  element.addEventListener("toggle", () => (element.open ? open.add(process.id) : open.delete(process.id)));
  return element;
}

function momentRow(moment, index, all) {
  const before = index > 0 ? moment.time - all[index - 1].time : 0;
  return h("li", { className: moment.what },
    h("time", {}, index === 0 ? clockTime(moment.time) : before < 0.05 ? "" : `+${before < 10 ? before.toFixed(1) + " s" : duration(before)}`),
    h("div", { className: "text" },
      moment.activity ? h("code", { className: "soft" }, `${moment.activity} `) : "",
      moment.text,
      moment.outcome ? h("span", { className: moment.refused ? "outcome bad" : "outcome" },
        `${moment.outcome} `, button("look", () => showCall(moment.call), "plain")) : ""));
}

async function again(number) {
  const call = await send("POST", `/sandbox/calls/${number}/again`);
  if (call) say(`Call ${number} is sent again, as call ${call.number}`);
}

// A form for a robot's own properties

function startForm() {
  const robots = state.robots;
  if (!robots.length) return empty("No robot is registered yet. `airflow-b24 robots apply` registers those of your DAGs.");
  const chosen = h("select", { name: "robot", onchange: () => properties() },
    ...robots.map((robot, index) => h("option", { value: index }, `${robot.name} (${robot.code})`)));
  const fields = h("div", { id: "properties", hidden: true });
  const parts = [
    h("label", {}, "Robot", chosen),
    h("label", {}, "Document", h("input", { name: "document", value: "LEAD_77", required: true, pattern: "(LEAD|DEAL|CONTACT|COMPANY|DYNAMIC_[0-9]+)_[0-9]+", title: "such as LEAD_77, DEAL_7 or DYNAMIC_147_1" })),
    h("label", {}, "Waits at most (seconds, 0 forever)", h("input", { name: "timeout", type: "number", min: 0, step: 1, value: 0 })),
    fields,
    h("button", { className: "main" }, "Start"),
  ];
  const properties = () => {
    document.querySelectorAll("#start-form label.property").forEach((old) => old.remove());
    fields.before(...robots[chosen.value].properties.map(propertyField));
  };
  queueMicrotask(properties);
  return parts;
}

function propertyField(property) {
  const name = `property:${property.id}`;
  const given = property.default ?? "";
  const text = Array.isArray(given) ? given.join("\n") : String(given);
  const required = property.required;
  let input;
  if (property.multiple) {
    input = h("textarea", { name, required, rows: 2, value: text, placeholder: "one in each line" });
  } else if (property.type === "bool" || property.type === "select" || Object.keys(property.options).length) {
    const options = property.type === "bool" ? { Y: "yes", N: "no" } : property.options;
    input = h("select", { name, required }, h("option", { value: "" }, "–"),
      ...Object.entries(options).map(([value, label]) => h("option", { value }, label)));
    input.value = text;
  } else if (property.type === "text") {
    input = h("textarea", { name, required, rows: 2, value: text });
  } else {
    const types = { int: "number", double: "number", date: "date", datetime: "datetime-local" };
    input = h("input", { name, required, type: types[property.type] ?? "text", value: text });
    if (property.type === "double") input.step = "any";
  }
  return h("label", { className: "property" }, property.name + (required ? " *" : ""), input,
    h("small", {}, [property.id, property.type, property.description].filter(Boolean).join(" · ")));
}

const CLASSES = { LEAD: "CCrmDocumentLead", DEAL: "CCrmDocumentDeal", CONTACT: "CCrmDocumentContact", COMPANY: "CCrmDocumentCompany" };

async function start(event) {
  event.preventDefault();
  const form = event.target;
  if (!form.elements.robot) return;
  const robot = state.robots[form.elements.robot.value];
  const properties = {};
  for (const property of robot.properties) {
    const value = form.elements[`property:${property.id}`].value;
    if (value === "") continue;
    properties[property.id] = property.multiple ? value.split("\n").filter((line) => line !== "") : value;
  }
  const record = form.elements.document.value;
  const step = {
    type: robot.kind === "activity" ? "call_activity" : "call_robot",
    code: robot.code,
    client_id: robot.client_id,
    properties,
    timeout_duration: Number(form.elements.timeout.value || 0),
    use_subscription: "Y",
  };
  const entity = CLASSES[record.split("_")[0]] ?? "Bitrix\\Crm\\Integration\\BizProc\\Document\\Dynamic";
  const process = await send("POST", "/sandbox/processes", { steps: [step], document_id: ["crm", entity, record] });
  if (process) {
    open.add(process.id);
    const card = $(`process-${process.id}`);
    if (card) card.open = true;
  }
}

// People

function taskCard(task) {
  const inputs = task.fields.map((field) => [field.id, h("input", { "aria-label": field.name, placeholder: field.name + (field.required ? " *" : "") })]);
  const comment = h("input", { "aria-label": "Comment", placeholder: "Comment" });
  const decide = (status) => send("POST", `/sandbox/tasks/${task.id}`, {
    status, comment: comment.value, fields: Object.fromEntries(inputs.map(([id, input]) => [id, input.value])),
  });
  const names = { yes: "Approve", no: "Reject", ok: "Done", cancel: "Cancel" };
  return h("div", { className: "task", id: `task-${task.id}` },
    h("p", {}, h("strong", {}, task.title), " ", h("span", { className: `pill ${task.decisions.length ? "warn" : "soft"}` }, task.status)),
    h("p", { className: "soft" }, `${task.user}, `, task.decisions.length ? ageing(task.created, null) : clockTime(task.created)),
    task.description ? h("p", {}, task.description) : "",
    task.decisions.length ? h("div", { className: "row" }, ...inputs.map(([, input]) => input), comment,
      ...task.decisions.map((status, index) => button(names[status], () => decide(status), index === 0 ? "main" : ""))) : "");
}

// Requests and calls

function statusText(entry) {
  const failed = entry.error || entry.status >= 400;
  const text = entry.status ?? (entry.error ? "failed" : entry.fault ? "dropped" : "…");
  return h("span", { className: failed ? "bad" : entry.status ? "good" : "warn" }, String(text));
}

function requestRow(request) {
  return h("div", { className: "entry request" },
    h("time", {}, clockTime(request.time)),
    h("div", { className: "what" }, button(request.method || request.verb, () => showRequest(request.number), "plain mono")),
    h("div", { className: "result" }, statusText(request), ` ${milliseconds(request.seconds)}`),
    request.error || request.fault ? h("div", { className: "extra" }, [request.error, request.fault && `fault: ${request.fault}`].filter(Boolean).join(" · ")) : "");
}

function callRow(call) {
  return h("div", { className: "entry call" },
    h("time", {}, clockTime(call.time)),
    h("div", { className: "what" }, "→ ", button(`${call.kind} ${call.code ?? ""}`, () => showCall(call.number), "plain mono")),
    h("div", { className: "result" }, statusText(call), ` ${milliseconds(call.seconds)}`),
    h("div", { className: "extra" }, call.error ?? call.url, " ", button("send again", () => again(call.number), "plain")));
}

function activity() {
  const entries = [
    ...state.requests.map((request) => [request.time, request.number, requestRow, request]),
    ...state.calls.map((call) => [call.time, call.number, callRow, call]),
  ];
  entries.sort((one, other) => other[0] - one[0] || other[1] - one[1]);
  return entries.length ? entries.slice(0, 100).map(([, , row, entry]) => row(entry)) : empty("Nobody has called yet.");
}

function show(title, ...parts) {
  $("dialog-title").textContent = title;
  $("dialog-body").replaceChildren(...parts);
  $("dialog").showModal();
}

async function look(path) {
  try {
    const response = await fetch(path);
    const told = await response.json();
    if (response.ok) return told;
    say(told.detail);
  } catch {
    say("The portal does not answer");
  }
  return null;
}

async function showRequest(number) {
  const request = await look(`/sandbox/requests/${number}`);
  if (request) show(`${request.verb} ${request.method}`,
    h("p", {}, statusText(request), ` ${request.error} ${milliseconds(request.seconds)} `, h("code", {}, request.path)),
    h("h3", {}, "Parameters"), h("pre", {}, request.body),
    h("h3", {}, "Answer"), h("pre", {}, request.response || "none on record"));
}

async function showCall(number) {
  const call = await look(`/sandbox/calls/${number}`);
  if (call) show(`${call.kind} ${call.code ?? ""}`,
    h("p", {}, statusText(call), ` ${call.error ?? ""} ${milliseconds(call.seconds)} `, h("code", {}, call.url)),
    h("h3", {}, "What was sent"), h("pre", {}, call.body),
    h("h3", {}, "What the handler said"), h("pre", {}, call.response || "nothing"),
    button("Send again", () => { $("dialog").close(); again(number); }, "main"));
}

// Records

function boardBar() {
  const staged = state.records.filter((entry) => entry.staged);
  if (!staged.some((entry) => entry.kind === kind)) kind = (staged.find((entry) => entry.count) ?? staged[0]).kind;
  const choice = h("select", { "aria-label": "Records on the board", onchange: () => { kind = choice.value; refresh(); } },
    ...staged.map((entry) => h("option", { value: entry.kind, selected: entry.kind === kind }, `${entry.kind} (${entry.count})`)));
  return [choice, button("Add one", () => send("POST", `/sandbox/records/${kind}`, { records: 1 })),
    h("span", { className: "soft" }, state.records.filter((entry) => !entry.staged).map((entry) => `${entry.kind} ${entry.count}`).join(" · "))];
}

async function drawBoard() {
  const entry = state.records.find((one) => one.kind === kind);
  const wanted = `${kind} ${entry.changes}`;
  if (wanted === board) return;
  const told = await look(`/sandbox/board/${kind}`);
  if (told === null) return;
  board = wanted;
  $("board").replaceChildren(...told.columns.map((column) => boardColumn(column, told.columns)));
}

const move = (id, stage) => send("PATCH", `/sandbox/records/${kind}/${id}`, { fields: { stageId: stage } });

function boardColumn(column, columns) {
  const element = h("div", { className: "column", "data-stage": column.stage },
    h("h3", {}, `${column.name} `, h("span", { className: "count" }, String(column.total))),
    ...column.cards.map((card) => boardCard(card, column, columns)),
    column.total > column.cards.length ? h("p", { className: "empty" }, `${column.total - column.cards.length} more`) : "");
  element.addEventListener("dragover", (event) => { event.preventDefault(); element.classList.add("over"); });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over");
    const [id, stage] = event.dataTransfer.getData("text/plain").split(" ");
    if (id && stage !== column.stage) move(id, column.stage);
  });
  return element;
}

function boardCard(card, column, columns) {
  // A finger cannot drag: the choice does the same.
  const choice = h("select", { "aria-label": `Stage of ${card.title}`, onchange: () => move(card.id, choice.value) },
    ...columns.map((other) => h("option", { value: other.stage, selected: other.stage === column.stage }, other.name)));
  const element = h("div", { className: "card", draggable: true, id: `card-${card.id}` }, card.title,
    h("div", { className: "soft" }, `${card.id}${card.sum ? ` · ${card.sum}` : ""}`), choice);
  element.addEventListener("dragstart", (event) => {
    event.dataTransfer.setData("text/plain", `${card.id} ${column.stage}`);
    element.classList.add("lifted");
  });
  element.addEventListener("dragend", () => element.classList.remove("lifted"));
  return element;
}

// Robots, limits, faults, switches

function robotCard(robot) {
  const names = (properties) => properties.map((property) => property.id + (property.required ? "*" : "")).join(", ") || "none";
  return h("div", { className: "robot" },
    h("p", {}, h("strong", {}, robot.name), " ", h("code", {}, robot.code), robot.kind === "activity" ? " (activity)" : ""),
    h("p", { className: "soft" }, `takes ${names(robot.properties)} · answers ${names(robot.return_properties)}`),
    h("p", { className: "soft mono" }, robot.handler));
}

function gauge(name, value, limit, unit) {
  return h("div", { className: "gauge" }, h("div", {}, h("span", {}, name), h("span", {}, `${value} of ${limit} ${unit}`)),
    h("meter", { min: 0, max: limit, low: limit * 0.6, high: limit * 0.9, optimum: 0, value, "aria-label": name }));
}

function limits() {
  const { requests, operating, leak_per_second: leak, in_force: inForce } = state.limits;
  const gauges = [
    ...requests.map((one) => gauge(`Requests from ${one.source}`, one.level, one.limit, `(${leak} leave per second)`)),
    ...operating.map((one) => gauge(`${one.method}, ${one.caller}`, one.seconds, one.limit, "s in ten minutes")),
  ];
  return [inForce ? "" : h("p", { className: "warn" }, "The limits are not in force."), ...(gauges.length ? gauges : empty("Nothing is used up."))];
}

function faults() {
  if (!state.faults.length) return empty("Nothing goes wrong.");
  return [...state.faults.map((one) => h("p", {}, h("span", {}, faultText(one)), h("span", { className: "soft" }, `${one.method ?? "any method"}, ${one.times === null ? "until cleared" : `${one.times} ×`}`))),
    button("Clear all", () => send("DELETE", "/sandbox/faults"))];
}

function faultText({ fault, details }) {
  const told = Object.entries(details).filter(([, value]) => value !== false).map(([name, value]) => `${name} ${value}`.replace(" true", ""));
  return [fault, ...told].join(", ");
}

function faultForm() {
  const type = h("select", { name: "type", "aria-label": "Fault" },
    ...Object.entries({ delay: "Answer 3 s late", drop: "Drop the connection", "drop after": "Work, then drop", html: "503 with HTML", status: "500 as JSON", truncate: "Half a body" })
      .map(([value, text]) => h("option", { value }, text)));
  return [type,
    h("input", { name: "method", placeholder: "any method", "aria-label": "Method", size: 18 }),
    h("input", { name: "times", type: "number", min: 1, value: 1, "aria-label": "How often", size: 4 }),
    h("button", {}, "Plan")];
}

function planFault(event) {
  event.preventDefault();
  const { type, method, times } = event.target.elements;
  const [name, after] = type.value.split(" ");
  const body = { type: name, times: Number(times.value) || 1 };
  if (method.value.trim()) body.method = method.value.trim();
  if (name === "delay") body.seconds = 3;
  if (after) body.after_work = true;
  send("POST", "/sandbox/faults", body);
}

function switches() {
  const names = { limits: "Limits are in force", closed: "The portal is closed", https_required: "Plain HTTP is refused" };
  return Object.entries(names).map(([name, text]) => h("label", { className: "check" },
    h("input", { type: "checkbox", name, checked: state.settings[name], onchange: (event) => send("POST", "/sandbox/settings", { [name]: event.target.checked }) }), text));
}

function connect() {
  const { webhook, application, oauth_server: server, member_id: member } = state;
  const rows = { "Incoming webhook": webhook, "Application": application.client_id, "Its secret": application.client_secret, "Authorization server": `${server}/oauth/token/`, "Member id": member };
  return [...Object.entries(rows).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, h("code", {}, value))]),
    h("dd", { className: "soft" }, "All of it is worth nothing elsewhere. ", h("a", { href: "/sandbox/state" }, "The same as JSON"))];
}

function drawAll() {
  $("address").textContent = `${state.url} · ${state.tariff}`;
  $("process-count").textContent = state.processes.length || "";
  const openTasks = state.tasks.filter((task) => task.decisions.length).length;
  $("task-count").textContent = openTasks ? `${openTasks} open` : "";
  $("request-count").textContent = state.request_count || "";
  $("robot-count").textContent = state.robots.length || "";
  draw("processes", state.processes, () => (state.processes.length ? state.processes.toReversed().map(processCard) : empty("No process has been started yet.")));
  draw("tasks", state.tasks, () => (state.tasks.length ? state.tasks.toReversed().map(taskCard) : empty("Nobody is asked anything.")));
  draw("activity", [state.requests, state.calls], activity);
  draw("robots", state.robots, () => (state.robots.length ? state.robots.map(robotCard) : empty("None is registered.")));
  draw("start-form", state.robots, startForm);
  draw("limits", state.limits, limits);
  draw("faults", state.faults, faults);
  draw("switches", state.settings, switches);
  draw("connect", [state.webhook, state.application], connect);
  draw("board-bar", [state.records, kind], boardBar);
  return drawBoard();
}

function tick() {
  $("now").textContent = `${new Date(now() * 1000).toLocaleString("sv-SE")}${state.ahead === null ? ", stands still" : ""}`;
  document.querySelectorAll(".ageing").forEach(age);
}

let refreshing = Promise.resolve();
function refresh() {
  refreshing = refreshing.then(ask, ask);
  return refreshing;
}

async function ask() {
  try {
    const response = await fetch("/sandbox/state", { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
    if (response.status !== 304) {
      state = await response.json();
      tag = response.headers.get("ETag");
      ahead = state.ahead ?? 0;
    }
    $("link").textContent = "live";
    $("link").className = "";
  } catch {
    $("link").textContent = "the portal does not answer";
    $("link").className = "lost";
  }
  if (state !== null) {
    await drawAll();
    tick();
  }
}

$("clock").append(h("span", { id: "now" }), ...[["+1 min", 60], ["+1 h", 3600], ["+1 day", 86400]]
  .map(([text, seconds]) => button(text, () => send("POST", "/sandbox/clock", { advance: seconds }))));
$("acts").append(
  button("Expire access tokens", async () => { if (await send("POST", "/sandbox/tokens/expire")) say("Every access token issued so far has expired"); }),
  button("Reset", async () => { if (confirm("Forget processes, tasks, calls, requests, records and faults?")) await send("POST", "/sandbox/reset"); }));
$("fault-form").append(...faultForm());
$("fault-form").addEventListener("submit", planFault);
$("start-form").addEventListener("submit", start);
$("methods").addEventListener("toggle", async () => {
  const list = $("methods").querySelector("ul");
  if (list.children.length) return;
  const known = await look("/sandbox/methods");
  if (known) list.append(...known.rest.map((name) => h("li", {}, h("code", {}, name))), ...known.rest3.map((name) => h("li", {}, h("code", {}, name), " REST 3.0")));
});

// A link to a process or a record, where a portal has pages of them.
const [place, id] = location.hash.slice(1).split("=");
if (place === "process") open.add(id);
else if (place) kind = place;
await refresh();
if (place === "process" || kind === place) $(place === "process" ? `process-${id}` : `card-${id}`)?.scrollIntoView({ block: "center" });
setInterval(() => { if (!document.hidden) refresh(); }, 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
