import { type Attack, dial, expectStatus, get } from '../attack.ts'

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const letters = (count: number): string =>
  Array.from({ length: count }, () => alphabet[Math.floor(Math.random() * 62)]).join('')

/** API keys and tokens that were made up. */
export const attack: Attack = {
  name: 'guessed credentials',
  async round(target) {
    const socket = await dial(target)
    expectStatus(target, socket, 401, 429)
    for (let at = 0; at < 60 && !socket.destroyed; at++) {
      const field =
        at % 2 === 0
          ? `X-Api-Key: csk_${letters(8)}_${letters(43)}`
          : `Authorization: Bearer ${letters(20)}.${letters(60)}.${letters(86)}`
      const head = get(target, '/agents/echo/').replace('\r\n\r\n', `\r\n${field}\r\n\r\n`)
      socket.write(head)
      await target.pause(20)
    }
    socket.destroy()
  },
}
