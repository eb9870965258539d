// Contrast of all that is shown (WCAG 2.2: 1.4.3 for text, 1.4.11 for graphics), from computed
// styles: what text or mark has less than it must against what it lies on.
() => {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = numbers(colour).slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const isSeen = (colour) => colour !== "none" && (numbers(colour)[3] ?? 1) > 0;
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (isSeen(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const poor = [];
  const judge = (element, colour, against, least, what) => {
    const found = ratio(colour, against);
    if (found < least) {
      poor.push(`${what} ${element.tagName}.${element.getAttribute("class")}: ${found.toFixed(2)}`);
    }
  };
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("title, desc, script, noscript")) continue;
    texts += 1;
    const inSvg = element.closest("svg");
    if (!inSvg) judge(element, getComputedStyle(element).color, ground(element), 4.5, "text");
    else if (!element.matches(".in")) {
      judge(element, getComputedStyle(element).fill, ground(inSvg), 4.5, "text");
    } else {
      // a name in a band: any band may be below it
      for (const band of inSvg.querySelectorAll("g > path")) {
        judge(element, getComputedStyle(element).fill, getComputedStyle(band).fill, 4.5, "text");
      }
    }
  }
  for (const path of document.querySelectorAll("svg path")) {
    const style = getComputedStyle(path);
    const paper = ground(path.closest("svg"));
    // lines of the grid are no information; a line in the paper's colour parts what it lies between
    if (path.matches(".grid, .tick")) continue;
    if (path.matches(".v")) {
      for (const square of path.parentElement.querySelectorAll(".l0, .l1, .l2, .l3, .l4")) {
        judge(path, style.stroke, getComputedStyle(square).stroke, 3, "graphic");
      }
      continue;
    }
    const colour = isSeen(style.fill) ? style.fill : style.stroke;
    judge(path, colour, paper, 3, "graphic");
  }
  const focus = getComputedStyle(document.documentElement).getPropertyValue("--focus").trim();
  const probe = document.createElement("span");
  probe.style.color = focus;
  document.body.append(probe);
  judge(probe, getComputedStyle(probe).color, ground(document.body), 3, "focus");
  probe.remove();
  return { texts, poor: [...new Set(poor)] };
}
