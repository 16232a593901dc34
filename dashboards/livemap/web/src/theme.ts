import { el, icon, keep, stored } from './dom'

type Choice = 'auto' | 'light' | 'dark'
const next: Record<Choice, Choice> = { auto: 'light', light: 'dark', dark: 'auto' }
const names: Record<Choice, string> = { auto: 'as the system', light: 'light', dark: 'dark' }
const pictures: Record<Choice, string> = {
  auto: 'M10 3a7 7 0 100 14 7 7 0 000-14zM10 3v14M13 4.5v11M16 7v6',
  light:
    'M10 6.5a3.5 3.5 0 100 7 3.5 3.5 0 000-7zM10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6L16 16M16 4l-1.4 1.4M5.4 14.6L4 16',
  dark: 'M16 12.5A7 7 0 017.5 4 7 7 0 1016 12.5z',
}

/** Theme is light or dark: as the system says, or as it was chosen. */
export class Theme {
  readonly button = el('button', { click: () => this.choose(next[this.choice]) })
  private choice: Choice
  private readonly system = matchMedia('(prefers-color-scheme: dark)')
  private tell: () => void = () => {}

  constructor() {
    const kept = stored('theme')
    this.choice = kept === 'light' || kept === 'dark' ? kept : 'auto'
    this.apply()
    this.system.addEventListener('change', () => {
      if (this.choice !== 'auto') return
      this.apply()
      this.tell()
    })
  }

  get dark(): boolean {
    return this.choice === 'auto' ? this.system.matches : this.choice === 'dark'
  }

  onChange(tell: () => void): void {
    this.tell = tell
  }

  private choose(choice: Choice): void {
    const before = this.dark
    this.choice = choice
    keep('theme', choice)
    this.apply()
    if (this.dark !== before) this.tell()
  }

  private apply(): void {
    document.documentElement.dataset.theme = this.dark ? 'dark' : 'light'
    this.button.replaceChildren(icon(pictures[this.choice]))
    this.button.title = `Colours: ${names[this.choice]}`
    this.button.setAttribute('aria-label', `Colours: ${names[this.choice]}. Change them`)
  }
}
