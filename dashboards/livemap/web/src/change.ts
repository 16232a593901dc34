import type { ShardChange } from './api'
import { el, setText } from './dom'
import type { Units } from './units'

const phases: Record<string, string> = {
  dual: 'both layouts are written',
  cut: 'the new layout is written',
}

const stages: Record<string, string> = {
  copying: 'history is copied',
  comparing: 'history is compared',
  moved: 'history is moved',
  deleting: 'history that was moved is deleted where it was',
  cleaning: 'the change was aborted, and what was copied is deleted',
}

/** ChangeNote says how far a change of the databases is, and is hidden while there is none. */
export class ChangeNote {
  private readonly text = el('p', {})
  private readonly bar = el('progress', { max: 1, value: 0, 'aria-label': 'History of the change of databases' })
  private readonly stands = el('p', { class: 'why' })
  readonly element = el('div', { class: 'change' }, this.text, this.bar, this.stands)

  constructor(private readonly units: Units) {}

  show(change: ShardChange): void {
    const { set, phase, what, history, done, left_s } = change
    const stage = history === undefined ? undefined : stages[history]
    const works = stage !== undefined && history !== 'moved'
    const parts = [stage ?? phases[phase] ?? phase]
    if (works && done !== undefined) parts.push(this.units.percent(done))
    if (works && left_s) parts.push(`${this.units.age(left_s)} left`)
    const of = set === 'main' ? '' : ` of the set ${set}`
    const is = phase === 'settled' ? 'were' : 'are being'
    setText(this.text, `The databases${of} ${is} changed (${what}): ${parts.join(', ')}.`)
    this.bar.hidden = stage === undefined || done === undefined
    this.bar.value = done ?? 0
    setText(this.stands, change.stands ? `It stands: ${change.stands}.` : '')
  }
}
