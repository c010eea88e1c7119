import { LONG_FILES, LONG_FUNCTIONS } from './exceptions.ts'
import { excuse } from './imports.ts'
import { isProduct, isTest, type Source } from './source.ts'

/** Hard limits, in lines of code; blank lines and comments are free. STYLE usual: 250 and 40. */
const FILE_LINES_MAX = 400
const FUNCTION_LINES_MAX = 70
const LIB_FILES_MAX = 14
const FOLDER_DEPTH_MAX = 3

/** Tests are lists and may be long; everything else has to fit in a head. */
const isBudgeted = (file: string): boolean =>
  !isTest(file) && (isProduct(file) || /^(tools|bench|examples)\//.test(file))

export function longFiles(all: readonly Source[]): readonly string[] {
  const failures = all
    .filter(({ path, codeLines }) => isBudgeted(path) && codeLines > FILE_LINES_MAX)
    .map(({ path, codeLines }) => ({ at: path, says: `${path} has ${codeLines} lines of code` }))
  return excuse(failures, LONG_FILES)
}

export function longFunctions(all: readonly Source[]): readonly string[] {
  const failures = all
    .filter(({ path }) => isBudgeted(path))
    .flatMap(({ path, functions }) =>
      functions
        .filter(({ codeLines }) => codeLines > FUNCTION_LINES_MAX)
        .map(({ name, line, codeLines }) => ({
          at: `${path}#${name}`,
          says: `${path}:${line} ${name} has ${codeLines} lines of code`,
        })),
    )
  return excuse(failures, LONG_FUNCTIONS)
}

export function crowdedLib(files: readonly string[]): readonly string[] {
  const lib = files.filter(
    (file) => /^packages\/fabric\/src\/lib\/.*\.ts$/.test(file) && !isTest(file),
  )
  return lib.length <= LIB_FILES_MAX ? [] : [`lib/ holds ${lib.length} files: ${lib.join(', ')}`]
}

export function deepFiles(files: readonly string[]): readonly string[] {
  return files.filter((file) => isProduct(file) && file.split('/').length - 4 > FOLDER_DEPTH_MAX)
}

const DRAWER = /^(utils?|helpers?|common|shared|types?|base|misc|stuff|lib)\.[a-z.]+$/
const KEBAB = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9-]+)*$/

export function nameFaults(files: readonly string[]): readonly string[] {
  const code = files.filter((file) => /\.(ts|tsx|js|mjs|cjs)$/.test(file))
  return code.flatMap((file) => {
    const name = file.split('/').at(-1) ?? ''
    if (DRAWER.test(name)) return [`${file} is a drawer; name it for the one thing it holds`]
    if (file.endsWith('.js') && files.includes(file.replace(/\.js$/, '.ts'))) {
      return [`${file} was generated from its .ts; remove it`]
    }
    if (!KEBAB.test(name)) return [`${file} is not kebab-case`]
    if (name === 'index.ts' && !/^packages\/[^/]+\/src\/index\.ts$/.test(file)) {
      return [`${file}: an index exists only at a package's entry`]
    }
    return []
  })
}
