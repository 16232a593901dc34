import { el, setText } from './dom'
import { type MetricName, metricNames, metrics, type Scale, stops } from './scale'
import type { Units } from './units'

/** Legend says what the colours of cells mean, and switches between meanings. */
export class Legend {
  readonly element = el('section', { class: 'legend', 'aria-label': 'Colours of the cells' })
  private readonly ramp = el('canvas', { class: 'ramp', width: 256, height: 1, 'aria-hidden': 'true' })
  private readonly ticks = el('div', { class: 'ticks', 'aria-hidden': 'true' })
  private readonly meaning = el('p', { class: 'meaning' })
  private readonly choices = new Map<MetricName, HTMLInputElement>()
  private painted = ''

  constructor(
    private readonly units: Units,
    private readonly chosen: (metric: MetricName) => void,
  ) {
    const set = el('fieldset', { class: 'switch' }, el('legend', { class: 'hidden' }, 'Colour cells by'))
    for (const name of metricNames) {
      const input = el('input', {
        type: 'radio',
        name: 'metric',
        value: name,
        checked: name === 'pings',
        change: () => this.chosen(name),
      })
      this.choices.set(name, input)
      set.append(el('label', {}, input, el('span', {}, metrics[name].label)))
    }
    this.element.append(set, this.ramp, this.ticks, this.meaning)
  }

  choose(metric: MetricName): void {
    const input = this.choices.get(metric)
    if (!input || input.checked) return
    input.checked = true
    this.chosen(metric)
  }

  draw(scale: Scale, dark: boolean, cells: number): void {
    const { metric } = scale
    const numbers = scale.ticks().map((n) => metric.write(n, this.units))
    const meaning = metric.meaning(this.units)
    const key = [dark, ...numbers, meaning, cells === 0].join()
    if (key === this.painted) return
    this.painted = key
    const context = this.ramp.getContext('2d')
    if (context) {
      const fill = context.createLinearGradient(0, 0, 256, 0)
      const colours = stops(dark)
      for (const [i, colour] of colours.entries()) fill.addColorStop(i / (colours.length - 1), colour)
      context.fillStyle = fill
      context.fillRect(0, 0, 256, 1)
    }
    this.ticks.replaceChildren(...numbers.map((n) => el('span', {}, n)))
    setText(this.meaning, cells === 0 ? `${meaning}. No activity here.` : meaning)
    this.element.setAttribute(
      'aria-label',
      `Colours of the cells: ${meaning}, from ${numbers[0] ?? ''} to ${numbers.at(-1) ?? ''}`,
    )
  }
}
