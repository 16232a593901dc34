import uPlot from 'uplot'
import { el } from './dom'

/** Line is one line of a chart: its values are those of the rows, null where not known. */
export interface Line {
  label: string
  colour: string // name of a custom property of the page
  values: (number | null)[]
  write: (n: number) => string
  scale?: string
}

const colourOf = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** filled adds to a colour of the page how much of it is left in an area. */
const filled = (name: string): string => `color-mix(in srgb, ${colourOf(name)} 18%, transparent)`

/** Spark is a small chart without axes, of some minutes. */
export class Spark {
  readonly element = el('div', { class: 'spark', 'aria-hidden': 'true' })
  private chart: uPlot | undefined
  private data: uPlot.AlignedData = [[], []]
  onPoint: (i: number | null) => void = () => {}

  constructor(
    private readonly colours: string[],
    private readonly least?: number, // that the height stands for
  ) {}

  set(times: number[], values: (number | null)[][]): void {
    this.data = [times, ...values] as uPlot.AlignedData
    if (!this.chart) this.make()
    else this.chart.setData(this.data)
  }

  /** restyle draws it anew, in the colours and the width of now. */
  restyle(): void {
    if (this.chart) this.make()
  }

  private make(): void {
    const width = this.element.clientWidth
    if (width === 0) return // not shown yet
    this.chart?.destroy()
    this.chart = new uPlot(
      {
        width,
        height: 34,
        padding: [3, 0, 2, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
        axes: [{ show: false }, { show: false }],
        scales: { y: { range: (_u, _min, max) => [0, Math.max(this.least ?? 0, max > 0 ? max * 1.05 : 1)] } },
        series: [
          {},
          ...this.colours.map((colour, i) => ({
            stroke: colourOf(colour),
            width: 1.5,
            points: { show: false },
            spanGaps: false,
            ...(i === 0 ? { fill: filled(colour) } : {}),
          })),
        ],
        hooks: { setCursor: [(u) => this.onPoint(u.cursor.idx ?? null)] },
      },
      this.data,
      this.element,
    )
  }
}

/** Chart is a chart with axes, over time. */
export class Chart {
  readonly element = el('div', { class: 'chart' })
  private chart: uPlot | undefined
  private times: number[] = []
  private lines: Line[] = []
  onPoint: (i: number | null) => void = () => {}

  constructor(
    private readonly title: string,
    private readonly fromZero = true,
    private readonly height = 110,
  ) {}

  /** set draws lines over times, in s since 1970. */
  set(times: number[], lines: Line[]): void {
    this.times = times
    this.lines = lines
    const known = lines.flatMap((l) => l.values).filter((v): v is number => v !== null)
    const [low, high] = [Math.min(...known), Math.max(...known)]
    const write = lines[0]?.write ?? String
    const summary =
      known.length > 0 ? `${this.title}: from ${write(low)} to ${write(high)}` : `${this.title}: nothing is known`
    this.element.setAttribute('role', 'img')
    this.element.setAttribute('aria-label', summary)
    this.make()
  }

  restyle(): void {
    if (this.chart) this.make()
  }

  private make(): void {
    const width = this.element.clientWidth
    if (width === 0) return
    this.chart?.destroy()
    const axis = {
      stroke: colourOf('--soft'),
      grid: { stroke: colourOf('--hair'), width: 1 },
      ticks: { show: false },
      font: '11px system-ui',
    }
    this.chart = new uPlot(
      {
        width,
        height: this.height,
        padding: [6, 28, 0, 0], // half of the last time stands behind the plot
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false } },
        axes: [
          {
            ...axis,
            size: 22,
            space: 60,
            values: (_u, splits) =>
              splits.map((s) =>
                new Date(s * 1000).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' }),
              ),
          },
          { ...axis, size: 54, space: 28, values: (_u, splits) => splits.map((v) => this.lines[0]?.write(v) ?? '') },
        ],
        scales: {
          y: {
            range: (_u, min, max) => {
              if (!this.fromZero) return [min - 5 - (max - min) * 0.1, max + 5 + (max - min) * 0.1]
              return max > min ? [Math.min(0, min), max * 1.05] : [Math.min(0, min), Math.max(1, max)]
            },
          },
        },
        series: [
          {},
          ...this.lines.map((line) => ({
            label: line.label,
            stroke: colourOf(line.colour),
            width: 1.5,
            points: { show: false },
          })),
        ],
        hooks: { setCursor: [(u) => this.onPoint(u.cursor.idx ?? null)] },
      },
      [this.times, ...this.lines.map((l) => l.values)] as uPlot.AlignedData,
      this.element,
    )
  }
}
