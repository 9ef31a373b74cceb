"use strict";
// In Locust's own page: a link to the Grace page, and the page itself in the "Grace" tab in place of its table.
(() => {
  const style = document.createElement("style");
  style.textContent = "body[data-grace] .MuiTableContainer-root { display: none } #grace-frame { display: block; width: 100%; border: 0 }";
  document.head.append(style);
  function link() {
    const bar = document.querySelector("header .MuiToolbar-root");
    if (!bar || document.getElementById("grace-link")) return;
    const one = document.createElement("a");
    one.id = "grace-link"; one.href = "./grace/"; one.textContent = "Grace: live, HALT, reports";
    // it gives way to the buttons of a run: a header that is too wide would scroll the whole page sideways
    one.style.cssText = "color: inherit; font-weight: 600; margin-right: auto; white-space: nowrap; min-width: 0; overflow: hidden; text-overflow: ellipsis";
    bar.firstElementChild.after(one);
  }
  function form() {
    const heads = [...document.querySelectorAll(".MuiAccordionSummary-root")];
    const mine = heads.find((one) => one.textContent.trim() === "Custom parameters");
    if (!mine || mine.dataset.grace) return;
    mine.dataset.grace = "opened once";
    if (mine.getAttribute("aria-expanded") === "false") mine.click();
  }
  // Locust has the fields in the order of the alphabet. What everybody sets stands first: by style, the nodes are React's.
  function order() {
    for (const [at, name] of ["scenario", "timeScale", "seed"].entries()) {
      let field = document.querySelector(`[name="${name}"]`);
      while (field && field.parentElement && !field.parentElement.querySelector('[name="control"]')) field = field.parentElement;
      if (!field || !field.parentElement || field.style.order) continue;
      Object.assign(field.parentElement.style, { display: "flex", flexDirection: "column" });
      field.style.order = String(at - 3);
    }
  }
  function frame() {
    const tab = document.querySelector('[role="tab"][aria-selected="true"]');
    const on = Boolean(tab) && tab.textContent.trim() === "Grace";
    let one = document.getElementById("grace-frame");
    document.body.toggleAttribute("data-grace", on);
    if (!on) { if (one) one.remove(); return; }
    if (!one) {
      one = document.createElement("iframe");
      one.id = "grace-frame"; one.src = "./grace/"; one.title = "Grace";
      tab.closest(".MuiContainer-root").append(one);
    }
    const page = one.contentDocument;
    if (!page || !page.body) return;
    const height = `${Math.max(420, page.body.offsetHeight + 8)}px`;
    if (one.style.height !== height) one.style.height = height;
    const theme = localStorage.getItem("theme") || "";
    if ((page.documentElement.dataset.theme || "") !== theme) page.documentElement.dataset.theme = theme;
  }
  setInterval(() => { link(); form(); order(); frame(); }, 300);
})();
