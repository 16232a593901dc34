type Attributes = Record<string, string | number | boolean | undefined | ((event: never) => void)>

/** el makes an element; attributes that are functions listen to the event of that name. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name, value as EventListener)
    else if (value === true) made.setAttribute(name, '')
    else if (value !== undefined && value !== false) made.setAttribute(name, String(value))
  }
  made.append(...children)
  return made
}

/** icon makes a picture of 20 by 20 units, drawn by one path; words beside it say what it means. */
export function icon(path: string): SVGSVGElement {
  const space = 'http://www.w3.org/2000/svg'
  const svg = document.createElementNS(space, 'svg')
  svg.setAttribute('viewBox', '0 0 20 20')
  svg.setAttribute('aria-hidden', 'true')
  const line = document.createElementNS(space, 'path')
  line.setAttribute('d', path)
  svg.append(line)
  return svg
}

/** setText writes a text only where it differs, so that screen readers stay quiet. */
export function setText(element: Node, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

/** after returns a function that calls f once ms have passed without another call. */
export function after(ms: number, f: () => void): () => void {
  let timer = 0
  return () => {
    clearTimeout(timer)
    timer = window.setTimeout(f, ms)
  }
}

/** save has the browser keep a text as a file. */
export function save(name: string, type: string, text: string): void {
  const link = el('a', { href: URL.createObjectURL(new Blob([text], { type })), download: name })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

/** stored returns a choice of earlier, or null. */
export function stored(name: string): string | null {
  try {
    return localStorage.getItem(`pingline.${name}`)
  } catch {
    return null
  }
}

/** keep has the browser remember a choice. */
export function keep(name: string, value: string): void {
  try {
    localStorage.setItem(`pingline.${name}`, value)
  } catch {
    // The browser keeps nothing: the choice lasts as long as the page.
  }
}
