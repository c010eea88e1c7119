/** `text` without the separators and blanks at its end. */
export function withoutSeparators(text: string): string {
  let end = text.length
  while (end > 0 && (';,'.includes(text.charAt(end - 1)) || isBlank(text.charAt(end - 1)))) end--
  return text.slice(0, end)
}

const isBlank = (sign: string): boolean => /\s/.test(sign)
