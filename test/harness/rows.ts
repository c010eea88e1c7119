import { displayWidth } from '../../packages/fabric/src/cli/output/display-width.ts'

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' })

/** The rows of a terminal that shows `text`, which breaks a line where its columns end. */
export function rowsOf(text: string, columns: number): readonly string[] {
  return text.split('\n').flatMap((line) => {
    const rows: string[] = []
    let row = ''
    for (const { segment } of graphemes.segment(line)) {
      if (displayWidth(row + segment) > columns) {
        rows.push(row)
        row = ''
      }
      row += segment
    }
    return [...rows, row]
  })
}
