"use strict";
// Polls state.json and draws it. Every word goes in as text, never as markup.
const EVERY_MS = 700;
const root = document.documentElement;
const PHASES = ["load", "baseline", "faults", "recovery"];
const KINDS = { fault_injected: "fault", fault_attained: "fault", fault_ended: "fault", fault_healed: "good",
  safeguard_engaged: "guard", safeguard_released: "guard", playbook_started: "book", playbook_finished: "book",
  recovered: "good", steady_state_met: "good", symptom_seen: "bad", signal_lost: "bad", run_aborted: "bad" };
let halted = "";

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) if (value !== false && value != null) node.setAttribute(name, value);
  node.append(...children.flat(Infinity).filter((one) => one != null));
  return node;
}
const span = (kind, text) => el("span", { class: kind }, text);
const when = (iso) => iso.replace("T", " ").replace(/\.\d+Z$/, " UTC");
const or = (value, unit = "") => (value == null ? "–" : `${value}${unit}`);
const words = (text) => text.replaceAll("_", " ");

function table(heads, rows) {
  return el("table", {}, el("thead", {}, el("tr", {}, heads.map((one) => el("th", {}, one)))), el("tbody", {}, rows));
}
function card(title, body, wide) {
  return el("div", { class: wide ? "card wide" : "card" }, el("h2", {}, title), body);
}
function links(run) {
  const names = { "report.html": "report", "incident.json": "incident", "junit.xml": "JUnit" };
  return run.reports.map((one) => el("a", { href: `runs/${encodeURIComponent(run.run_id)}/${one}`, target: "_blank" }, names[one] || one));
}

function head(state, run) {
  const over = run.verdict;
  const facts = [run.name, `severity ${run.severity}`, words(run.category), `seed ${run.seed}`, `time scale ${run.time_scale}`];
  if (run.control) facts.push("control run, no faults");
  if (run.safeguards_off) facts.push(`switched off: ${run.safeguards_off}`);
  const title = el("div", {}, over ? el("p", { class: "verdict" }, span("v", words(over))) : null,
    el("h1", {}, run.scenario_id), el("p", { class: "dim" }, facts.join(" · ")),
    el("p", { class: "dim small" }, `${run.target} · started ${when(run.started)}`));
  const right = over
    ? el("div", { class: "reports" }, el("a", { class: "button", href: `runs/${encodeURIComponent(run.run_id)}/report.html`, target: "_blank" }, "Open the report"), links(run).slice(1))
    : el("button", { id: "halt", type: "button", disabled: state.running && run.phase !== "done" ? false : "", title: "heals every fault, then stops the load" }, "HALT");
  return el("header", { class: over || run.phase }, title, right, over ? result(run) : [progress(run), tiles(run)]);
}
function result(run) {
  const text = run.cut_short ? `cut short: ${run.cut_short}` : `${run.shown} of ${run.claims} claims shown`;
  return el("p", { class: "waits" }, text, run.verdict === "PASS" ? null : [" · repeat it: ", el("code", {}, run.repeat)]);
}
function progress(run) {
  const at = run.phase === "done" ? PHASES.length : PHASES.indexOf(run.phase);
  const bars = PHASES.map((name, number) => {
    const part = number < at ? 1 : number > at ? 0 : run.phase_part == null ? 0.5 : run.phase_part;
    const told = number === at ? `${name} ${run.phase_s.toFixed(0)} s` + (run.phase_limit_s ? ` of ${name === "recovery" ? "at most " : ""}${run.phase_limit_s.toFixed(0)} s` : "") : name;
    const fill = el("b", {});
    fill.style.width = `${100 * part}%`;
    return el("div", { class: `phase ${name}${number === at ? " now" : ""}` }, el("i", {}, fill), told);
  });
  const waits = run.phase === "done" ? "the run is over: it is healed and judged" : run.waits_for ? `not yet: ${run.waits_for}` : "";
  return [el("div", { class: "phases" }, bars), el("p", { class: "waits" }, waits)];
}
function tiles(run) {
  const now = run.now;
  const all = [["legitimate requests", or(now.requests_per_s, "/s")], ["success", or(now.success_percent, " %")],
    ["p95 latency", or(now.latency_ms_p95, " ms")], ["CPU", or(now.cpu_percent, " %")],
    ["faults in force", run.faults.filter((one) => one.state === "in force").length],
    ["elapsed", `${run.elapsed_s.toFixed(0)} s`]];
  return el("dl", { class: "tiles" }, all.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
}

function faults(run) {
  const rows = run.faults.map((one) => {
    const on = one.state === "in force" ? "on fault" : one.state.includes("not healed") || one.state.includes("lost") ? "bad" : one.lasted_s != null ? "was" : "";
    const lasted = one.lasted_s == null ? "–" : `${one.lasted_s} of ${one.duration_s} s`;
    return el("tr", {}, el("td", { class: "key" }, span(on, [span("dot", ""), one.id])), el("td", {}, one.on),
      el("td", { class: "num" }, one.asked), el("td", { class: "num" }, or(one.achieved == null ? null : Math.round(one.achieved * 10) / 10)),
      el("td", { class: "num" }, lasted), el("td", {}, one.state, one.ended_by ? span("dim", `, ended by ${one.ended_by}`) : null));
  });
  return table(["fault", "on", "asked", "achieved", "lasted", "state"], rows);
}
function guards(run) {
  const never = (one) => run.verdict && one.state === "not yet";
  const lamp = (one, on, kind) => span(on ? `on ${kind}` : one.state === "not yet" ? "" : "was", [span("dot", ""), one.name]);
  const told = (one) => (never(one) ? span("bad", "never") : one.state);
  const rows = run.safeguards.map((one) => el("tr", {}, el("td", { class: "grow" }, lamp(one, one.state === "engaged", "guard"),
    one.expected ? null : span("dim", " (not expected)")),
    el("td", { class: "num" }, one.state === "engaged" ? one.subjects.join(", ") : told(one)), el("td", { class: "num dim" }, one.first_at_s == null ? "" : `at ${one.first_at_s} s`)));
  rows.push(...run.playbooks.map((one) => el("tr", {}, el("td", { class: "grow" }, lamp(one, one.state === "running", "book")), el("td", { class: "num" }, told(one)), el("td", {}))));
  return table(["safeguard, playbook", "state", "first"], rows);
}
function open(run) {
  if (!run.open.length) return null;
  const rows = run.open.map((one) => el("tr", {}, el("td", { class: "key" }, span(`v ${one.verdict}`, words(one.verdict))),
    el("td", { class: "grow" }, one.claim, el("div", { class: "dim" }, one.because))));
  const more = run.claims - run.shown - run.open.length;
  return card("What did not pass", [el("table", {}, el("tbody", {}, rows)), more > 0 ? el("p", { class: "dim small" }, `and ${more} more in the report`) : null], true);
}
function events(run) {
  const rows = run.events.map((one) => el("tr", {}, el("td", { class: "num dim" }, `${one.at_s.toFixed(1)} s`),
    el("td", { class: `key k-${one.words.includes("route_back") ? "good" : KINDS[one.kind] || "other"}` }, words(one.kind)), el("td", { class: "key" }, one.subject), el("td", { class: "grow dim" }, one.words)));
  return table(["at", "what", "of", ""], rows);
}
function past(state) {
  if (!state.runs.length) return [];
  const rows = state.runs.map((one) => el("tr", {}, el("td", { class: "key" }, span(`v ${one.verdict}`, words(one.verdict))), el("td", { class: "key" }, one.scenario_id),
    el("td", { class: "num" }, `seed ${one.seed}`), el("td", { class: "num dim" }, when(one.started)),
    el("td", { class: "grow dim" }, one.cut_short ? `cut short: ${one.cut_short}` : `${one.shown} of ${one.claims} claims shown`), el("td", {}, el("div", { class: "reports" }, links(one)))));
  return [el("h2", {}, "Runs of this process"), el("table", {}, el("tbody", {}, rows))];
}

function draw(state) {
  const notice = document.getElementById("notice");
  const told = state.refused ? `The start was refused: ${state.refused}` : state.starting ? `${state.starting} …` : halted;
  notice.hidden = !told;
  notice.className = state.refused ? "refused" : "";
  notice.textContent = told;
  const main = document.getElementById("main");
  const run = state.run;
  const focused = document.activeElement && document.activeElement.id === "halt";
  if (!run) main.replaceChildren(el("div", { class: "empty" }, el("b", {}, "No run yet"), "Choose a scenario in the start form and press Start: what happens then is shown here."));
  else {
    const cards = el("div", { class: "cards" }, open(run), card("Faults", faults(run)), card("Safeguards and playbooks", guards(run)),
      card(run.verdict ? "How it ended, the last first" : "Timeline, the last first", events(run), true));
    main.replaceChildren(head(state, run), cards);
    const button = document.getElementById("halt");
    if (button) { button.addEventListener("click", halt); if (focused) button.focus(); }
  }
  document.getElementById("past").replaceChildren(...past(state));
}

async function halt() {
  const button = document.getElementById("halt");
  if (button) { button.disabled = true; button.textContent = "healing"; }
  halted = "HALT: every fault is being healed";
  try {
    const answer = await (await fetch("halt", { method: "POST" })).json();
    const healed = Object.entries(answer.healed).map(([name, good]) => `${name} ${good ? "healed" : "NOT healed"}`);
    halted = answer.halted ? `Halted. ${healed.length ? healed.join(", ") : "No fault was in force"}; the load stops.` : `Not halted: ${answer.because}`;
  } catch (error) { halted = `HALT did not get through: ${error}. A file called HALT in the run folder does the same.`; }
  poll();
}

let seen = "", running = false;
async function poll() {
  const link = document.getElementById("link");
  try {
    const text = await (await fetch("state.json", { cache: "no-store" })).text();
    link.textContent = "";
    const state = JSON.parse(text);
    if (state.running && !running) halted = "";
    running = state.running;
    if (text + halted !== seen) { seen = text + halted; draw(state); }
  } catch (error) { link.textContent = "no answer: the process has ended, or is busy"; }
}
function theme() {
  const chosen = localStorage.getItem("theme");
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen; else delete root.dataset.theme;
}
if (window !== window.top) root.classList.add("framed");
theme();
window.addEventListener("storage", theme);
poll();
setInterval(poll, EVERY_MS);
