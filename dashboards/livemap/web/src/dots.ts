import type { Map as MapLibre } from 'maplibre-gl'
import type { Fleet, Rider } from './fleet'
import { mercX, mercY, tile } from './mercator'

const floats = 9 // of a rider, in the buffer
const vertex = `#version 300 es
in vec4 way;      // from x, y, to x, y: Web Mercator, less the origin
in vec4 state;    // begun and lasts, s; heading, degrees, or -1; 0 waits, 1 moves, 2 stale, and 4 if chosen
in float age;     // s: of the newest ping, when the buffer's time was
uniform float since;  // s that have passed since then
uniform float stale;  // s of silence after which a rider is stale
uniform vec2 centre;  // of the map, less the origin
uniform vec2 size;    // of the canvas, pixels
uniform float scale;  // pixels that the world is wide
uniform float now;    // s
uniform float radius; // pixels
flat out float extent; // of the point, in radii
flat out vec2 turn;    // sine and cosine of the heading; 0, 0: no tip
flat out vec3 look;    // kind, chosen, how far it has faded
void main() {
  float part = state.y > 0.0 ? clamp((now - state.x) / state.y, 0.0, 1.0) : 1.0;
  vec2 way_ = mix(way.xy, way.zw, part) - centre;
  way_.x -= floor(way_.x + 0.5);
  float chosen = step(4.0, state.w);
  float kind = state.w - 4.0 * chosen;
  look = vec3(kind, chosen, smoothstep(0.25 * stale, stale, age + since));
  bool tip = state.z >= 0.0 && kind == 1.0 && radius > 2.0;
  turn = tip ? vec2(sin(radians(state.z)), cos(radians(state.z))) : vec2(0.0);
  extent = chosen > 0.5 ? 3.2 : tip ? 2.2 : 1.3 + 1.0 / radius;
  gl_PointSize = 2.0 * extent * radius;
  vec2 pixel = way_ * scale;
  gl_Position = vec4(pixel.x / size.x * 2.0, -pixel.y / size.y * 2.0, 0.0, 1.0);
}`
const fragment = `#version 300 es
precision highp float;
flat in float extent;
flat in vec2 turn;
flat in vec3 look;
uniform vec3 ink, rim, gone, mark;
uniform float radius, dim, others;
out vec4 colour;
void main() {
  vec2 at = (gl_PointCoord * 2.0 - 1.0) * extent;
  float edge = 1.0 / radius;
  float r = length(at);
  float disc = r - 1.0;
  float shape = disc;
  if (turn != vec2(0.0)) {
    vec2 p = vec2(turn.y * at.x + turn.x * at.y, -turn.x * at.x + turn.y * at.y); // the heading is up, y is down
    // The hull of the disc and a point ahead of it: its sides touch the disc.
    vec2 q = vec2(abs(p.x), -p.y);
    float b = 1.0 / 1.8, a = sqrt(1.0 - b * b);
    float k = dot(q, vec2(-b, a));
    shape = k < 0.0 ? disc : k > a * 1.8 ? length(q - vec2(0.0, 1.8)) : dot(q, vec2(a, b)) - 1.0;
  }
  float outer = 1.0 - smoothstep(-edge, edge, shape - 0.3);
  float inner = 1.0 - smoothstep(-edge, edge, shape);
  vec4 dot_ = look.x == 2.0
    ? vec4(gone, 0.55 * (1.0 - smoothstep(-edge, edge, abs(disc + 0.15) - 0.2)))
    : vec4(mix(rim, look.x == 0.0 ? mix(ink, rim, 0.45) : ink, inner), outer * (1.0 - 0.65 * look.z));
  float ring = look.y * (1.0 - smoothstep(-edge, edge, abs(r - 2.4) - 0.35));
  colour = mix(dot_, vec4(mark, 1.0), ring);
  colour.a *= dim * (look.y > 0.5 ? 1.0 : others);
  colour.rgb *= colour.a;
}`

/** Colours are those of dots, each of red, green and blue from 0 to 1. */
export interface Colours {
  ink: number[]
  rim: number[]
  gone: number[]
  mark: number[]
  past: number[] // instead of ink
}

/**
 * Dots draws a Fleet on a canvas of its own above the map, so that a frame in which only
 * riders move costs no drawing of the map. The GPU moves them along: the buffer is written
 * once for each change of the stream, and a frame gives it only the time. Riders are points
 * rather than instances of a square, of which drivers without a GPU draw each by itself.
 */
export class Dots {
  readonly canvas = document.createElement('canvas')
  hidden = false
  chosen: Rider | undefined
  dim = 1
  colours: Colours = { ink: [0, 0, 0], rim: [1, 1, 1], gone: [0.5, 0.5, 0.5], mark: [1, 0.5, 0], past: [0.5, 0.3, 0] }
  /** past has the riders drawn in the colour of earlier times. */
  past = false
  /** frames are the times between two drawings in a row, ms, newest last. */
  readonly frames: number[] = []

  private readonly gl: WebGL2RenderingContext | null
  private program: WebGLProgram | undefined
  private buffer: WebGLBuffer | null = null
  private data = new Float32Array(0)
  private origin: [number, number] = [0, 0]
  private written = 0
  private dirty = true
  private until = 0 // performance.now until which riders glide
  private asked = 0
  private frameAt = 0
  drawn = 0

  constructor(
    private readonly map: MapLibre,
    private readonly fleet: Fleet,
  ) {
    this.canvas.className = 'dots'
    this.canvas.setAttribute('aria-hidden', 'true')
    this.gl = this.canvas.getContext('webgl2', { antialias: false, premultipliedAlpha: true })
    map.getCanvasContainer().append(this.canvas)
    this.canvas.addEventListener('webglcontextlost', (event) => event.preventDefault())
    this.canvas.addEventListener('webglcontextrestored', () => {
      this.program = undefined
      this.changed()
    })
    map.on('render', () => this.draw(performance.now()))
    map.on('resize', () => this.draw(performance.now()))
  }

  /** changed has the riders drawn anew. */
  changed(): void {
    this.dirty = true
    this.until = this.fleet.glidesUntil()
    this.wake()
  }

  /** nearest returns the rider that is drawn nearest to a point of the map, within reach pixels. */
  nearest(x: number, y: number, reach: number): Rider | undefined {
    if (this.hidden) return undefined
    const now = performance.now()
    const { clientWidth, clientHeight } = this.canvas
    const scale = tile * 2 ** this.map.getZoom()
    const centre = this.map.getCenter()
    const [cx, cy] = [mercX(centre.lng), mercY(centre.lat)]
    let best: Rider | undefined
    let least = reach * reach
    for (let i = 0; i < this.fleet.count; i++) {
      const [rx, ry] = this.fleet.position(i, now)
      let dx = rx - cx
      dx = (dx - Math.floor(dx + 0.5)) * scale + clientWidth / 2 - x
      const dy = (ry - cy) * scale + clientHeight / 2 - y
      if (dx * dx + dy * dy <= least) {
        least = dx * dx + dy * dy
        best = this.fleet.riders[i]
      }
    }
    return best
  }

  /** radius is that of a dot, px: dots that crowd are smaller, so that cells stay visible. */
  private radius(zoom: number, area: number): number {
    const room = Math.sqrt(area / (this.fleet.count + 1)) // px between neighbours, if all are in view
    return Math.max(1.3, Math.min(6.5, 1.5 + (zoom - 10) * 0.9, Math.max(room / 5, (zoom - 12) * 2)))
  }

  private wake(): void {
    if (this.asked !== 0) return
    this.asked = requestAnimationFrame((now) => {
      this.asked = 0
      if (this.frameAt > 0) this.frames.push(now - this.frameAt)
      if (this.frames.length > 1200) this.frames.splice(0, 600)
      this.draw(now)
      this.frameAt = now < this.until && !this.hidden ? now : 0
      if (this.frameAt > 0) this.wake()
    })
  }

  private draw(now: number): void {
    const gl = this.gl
    if (!gl || gl.isContextLost()) return
    const ratio = Math.min(2, window.devicePixelRatio || 1)
    const holder = this.map.getContainer()
    const [width, height] = [Math.round(holder.clientWidth * ratio), Math.round(holder.clientHeight * ratio)]
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width
      this.canvas.height = height
    }
    gl.viewport(0, 0, width, height)
    gl.clearColor(0, 0, 0, 0)
    gl.clear(gl.COLOR_BUFFER_BIT)
    if (this.hidden || this.fleet.count === 0) return
    const centre = this.map.getCenter()
    const [cx, cy] = [mercX(centre.lng), mercY(centre.lat)]
    // Near the origin 32-bit floats are exact to centimetres.
    if (Math.hypot(cx - this.origin[0], cy - this.origin[1]) > 0.01) {
      this.origin = [cx, cy]
      this.dirty = true
    }
    this.program ??= this.build(gl)
    const program = this.program
    gl.useProgram(program)
    if (this.dirty) this.write(gl)
    const zoom = this.map.getZoom()
    const uniform = (name: string) => gl.getUniformLocation(program, name)
    gl.uniform2f(uniform('centre'), cx - this.origin[0], cy - this.origin[1])
    gl.uniform2f(uniform('size'), width, height)
    gl.uniform1f(uniform('scale'), tile * ratio * 2 ** zoom)
    gl.uniform1f(uniform('now'), now / 1000)
    gl.uniform1f(uniform('radius'), ratio * this.radius(zoom, (width * height) / ratio ** 2))
    gl.uniform1f(uniform('dim'), this.dim)
    gl.uniform1f(uniform('others'), this.chosen ? 0.4 : 1)
    gl.uniform1f(uniform('stale'), this.fleet.stale)
    gl.uniform1f(uniform('since'), this.fleet.past ? 0 : (now - this.fleet.local) / 1000)
    const { ink, rim, gone, mark, past } = this.colours
    for (const [name, value] of Object.entries({ ink: this.past ? past : ink, rim, gone, mark }))
      gl.uniform3fv(uniform(name), value)
    gl.enable(gl.BLEND)
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA)
    this.drawn++
    gl.drawArrays(gl.POINTS, 0, this.written)
  }

  private write(gl: WebGL2RenderingContext): void {
    const fleet = this.fleet
    if (this.data.length < fleet.count * floats) this.data = new Float32Array(2 * fleet.count * floats)
    const [ox, oy] = this.origin
    const data = this.data
    for (let i = 0, to = 0; i < fleet.count; i++) {
      const heading = fleet.heading[i] ?? Number.NaN
      const moves = (fleet.speed[i] ?? 0) >= 0.5 ? 1 : 0
      data[to++] = (fleet.fromX[i] ?? 0) - ox
      data[to++] = (fleet.fromY[i] ?? 0) - oy
      data[to++] = (fleet.toX[i] ?? 0) - ox
      data[to++] = (fleet.toY[i] ?? 0) - oy
      data[to++] = (fleet.begun[i] ?? 0) / 1000
      data[to++] = (fleet.lasts[i] ?? 0) / 1000
      data[to++] = Number.isNaN(heading) ? -1 : heading
      data[to++] = (fleet.isStale[i] ? 2 : moves) + (fleet.riders[i] === this.chosen ? 4 : 0)
      data[to++] = (fleet.at - (fleet.ts[i] ?? 0)) / 1000
    }
    this.written = fleet.count
    this.dirty = false
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer)
    gl.bufferData(gl.ARRAY_BUFFER, data.subarray(0, fleet.count * floats), gl.DYNAMIC_DRAW)
  }

  private build(gl: WebGL2RenderingContext): WebGLProgram {
    const program = gl.createProgram()
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, vertex],
      [gl.FRAGMENT_SHADER, fragment],
    ] as const) {
      const shader = gl.createShader(kind)
      if (!shader) throw new Error('the GPU takes no shader')
      gl.shaderSource(shader, source)
      gl.compileShader(shader)
      gl.attachShader(program, shader)
    }
    gl.linkProgram(program)
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`dots: ${gl.getProgramInfoLog(program)}`)
    }
    const attribute = (name: string, size: number, offset: number) => {
      const at = gl.getAttribLocation(program, name)
      gl.enableVertexAttribArray(at)
      gl.vertexAttribPointer(at, size, gl.FLOAT, false, floats * 4, offset)
    }
    this.buffer = gl.createBuffer()
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer)
    attribute('way', 4, 0)
    attribute('state', 4, 16)
    attribute('age', 1, 32)
    this.dirty = true
    return program
  }
}
