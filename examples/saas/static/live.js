// Shows how far something is that goes on at the server: the only script there is.
for (const root of document.querySelectorAll("[data-poll]")) {
  const find = (selector) => root.querySelector(selector);
  const show = (progress) => {
    root.dataset.state = progress.state;
    const percent = progress.total ? Math.floor((100 * progress.done) / progress.total) : 0;
    const bar = find("[data-bar]");
    if (bar) {
      bar.style.width = `${percent}%`;
      bar.parentElement.setAttribute("aria-valuenow", percent);
    }
    const count = find("[data-count]");
    if (count) count.textContent = `${progress.done} of ${progress.total}`;
    const last = find("[data-last]");
    if (last && progress.steps.length) last.textContent = progress.steps.at(-1).name;
    find("[data-steps]")?.replaceChildren(...progress.steps.map((step) => {
      const item = document.createElement("li");
      item.textContent = step.name;
      item.classList.toggle("done", step.done);
      return item;
    }));
    find("[data-problems]")?.replaceChildren(...progress.problems.map((problem) => {
      const line = document.createElement("p");
      line.className = "problem";
      line.textContent = problem;
      return line;
    }));
  };
  const poll = async () => {
    try {
      const response = await fetch(root.dataset.poll);
      if (response.ok) show(await response.json());
    } catch {
      // The server is restarting, perhaps: ask again.
    }
    if (root.dataset.state === "working") setTimeout(poll, 150);
    // The bar is to be seen at its end, and what is around it is old.
    else if ("reload" in root.dataset) setTimeout(() => location.reload(), 700);
  };
  if (root.dataset.state === "working") poll();
}
