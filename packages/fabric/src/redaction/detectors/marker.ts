import { MARKER_FORM } from './operators.ts'

const whole = new RegExp(`^${MARKER_FORM}$`)

/** Every marker in a text. Text that resembles one, such as `[PROD]`, is text. */
export const everyMarker: RegExp = new RegExp(MARKER_FORM, 'g')

/** Reports whether a text is exactly one marker of the fabric, and so is masked already. */
export const isMarkerText = (text: string): boolean => whole.test(text)
