import { deflateSync } from 'node:zlib'

const ground = [11, 92, 173]
const ink = [255, 255, 255]

/** icon draws a place from which two rings spread, as a PNG of size × size; a mask may cut off a tenth at each side. */
export function icon(size) {
  const rows = Buffer.alloc(size * (1 + 3 * size)) // each row begins with its filter, none
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const r = Math.hypot((x + 0.5) / size - 0.5, (y + 0.5) / size - 0.5)
      const soft = (edge) => Math.min(Math.max((edge - r) * size + 0.5, 0), 1)
      const ring = (from, to) => soft(to) - soft(from)
      const share = soft(0.1) + ring(0.17, 0.21) * 0.9 + ring(0.28, 0.315) * 0.6
      for (let c = 0; c < 3; c++) {
        rows[y * (1 + 3 * size) + 1 + 3 * x + c] = Math.round(ground[c] + (ink[c] - ground[c]) * share)
      }
    }
  }
  const head = Buffer.alloc(13)
  head.writeUInt32BE(size, 0)
  head.writeUInt32BE(size, 4)
  head.set([8, 2, 0, 0, 0], 8) // 8 bits a channel, RGB
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([
    signature,
    chunk('IHDR', head),
    chunk('IDAT', deflateSync(rows, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(type, data) {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(data.length)
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(named))
  return Buffer.concat([length, named, sum])
}

function crc32(data) {
  let sum = ~0
  for (const byte of data) {
    sum ^= byte
    for (let i = 0; i < 8; i++) sum = (sum >>> 1) ^ (0xedb88320 & -(sum & 1))
  }
  return ~sum >>> 0
}
