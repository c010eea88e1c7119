import { styleText } from 'node:util'

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

/** Colours one piece of text, or leaves it as it is where colours are not wanted. */
export type Paint = (style: Style, text: string) => string

export const plainPaint: Paint = (_, text) => text

export const colourPaint: Paint = (style, text) =>
  text === '' ? '' : styleText(style, text, { validateStream: false })
