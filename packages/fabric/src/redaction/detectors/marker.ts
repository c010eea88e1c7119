import { MARKER_FORM } from './operators.ts'

const whole = new RegExp(`^${MARKER_FORM}$`)

/** Every marker in a text. Text that resembles one, such as `[PROD]`, is text. */
export const everyMarker: RegExp = new RegExp(MARKER_FORM, 'g')

/** Whether a text is one marker of ours and nothing else: what is masked already. */
export const isMarkerText = (text: string): boolean => whole.test(text)
