import { describe, expect, test } from 'vitest'
import { QUEUE_WIRE } from '../packages/fabric/src/channels/wire.ts'
import { GATEWAY_WIRE } from '../packages/fabric/src/transports/gateway/wire.ts'
import { MESH_WIRE } from '../packages/fabric/src/transports/mesh/wire.ts'
import { ATTACKS } from './requirements.ts'
import { crowdedLib, deepFiles, longFiles, longFunctions, nameFaults } from './tidy/budgets.ts'
import { commentProseFaults, wideComments } from './tidy/comment-prose.ts'
import { documentProseFaults, widthFaults } from './tidy/document-prose.ts'
import { documents, linkFaults, pathFaults, scriptFaults } from './tidy/documents.ts'
import { decisionFaults, stageFaults } from './tidy/exchanges.ts'
import {
  leftoverFaults,
  lockFaults,
  machineFaults,
  personFaults,
  thisMachine,
  versionFaults,
} from './tidy/hygiene.ts'
import {
  cycles,
  danglingImports,
  folderDirectionFaults,
  packageDirectionFaults,
  protocolPurityFaults,
  unreached,
  vendorFaults,
} from './tidy/imports.ts'
import {
  missingRows,
  pageFaults,
  pageWireFaults,
  sharedNumbers,
  statusFaults,
  type WireTables,
} from './tidy/refusals.ts'
import { exists, files, product, read, root, sources, textFiles } from './tidy/source.ts'
import {
  clockFaults,
  consoleFaults,
  defaultExportFaults,
  environmentFaults,
  expectedErrorFaults,
  looseTypeFaults,
  silencedFaults,
  testFaults,
} from './tidy/uses.ts'
import { waitFaults } from './tidy/waits.ts'

/** Shows every offender, one per line, instead of a diff of arrays. */
function expectNone(faults: readonly string[]): void {
  expect(faults.length === 0 ? '' : `\n${faults.join('\n')}\n`).toBe('')
}

describe('imports', () => {
  test('packages import one another in one direction only', () => {
    expectNone(packageDirectionFaults(sources()))
  })

  test('modules of the server do not import one another', () => {
    expectNone(folderDirectionFaults(sources()))
  })

  test('the protocol package imports nothing but itself, so that it runs in a browser', () => {
    expectNone(protocolPurityFaults(sources()))
  })

  test('vendors are imported under adapters only', () => {
    expectNone(vendorFaults(sources()))
  })

  test('exchanges are made by the stages only', () => {
    expectNone(stageFaults(sources()))
  })

  test('no transport decides', () => {
    expectNone(decisionFaults(sources()))
  })

  test('no import leads in a circle', () => {
    expectNone(cycles(sources()))
  })

  test('every relative import leads to a file', () => {
    expectNone(danglingImports(sources()))
  })

  test('every source is reached from an entry point', () => {
    const entries = ['protocol', 'sdk', 'demo', 'fabric', 'console'].flatMap((name) =>
      ['index.ts', 'main.ts', 'main.tsx', 'tls.ts'].map((file) => `packages/${name}/src/${file}`),
    )
    // Pages are bundled from their scripts, and the memory adapters are what contracts start from.
    const others = [
      'packages/console/src/verify/verify.ts',
      'packages/console/src/dashboard/dashboard.ts',
      'packages/fabric/src/adapters/memory/state-store.ts',
    ]
    expectNone(unreached(sources(), [...entries, ...others]))
  })
})

describe('sources', () => {
  test('the environment is read in config only', () => {
    expectNone(environmentFaults(sources()))
  })

  test('the console is written by the command line only', () => {
    expectNone(consoleFaults(sources()))
  })

  test('time and randomness come from lib only', () => {
    expectNone(clockFaults(sources()))
  })

  test('no type is any, and none is asserted to be present', () => {
    expectNone(looseTypeFaults(sources()))
  })

  test('nothing is exported by default', () => {
    expectNone(defaultExportFaults(sources()))
  })

  test('no compiler error is silenced', () => {
    expectNone([...silencedFaults(sources()), ...expectedErrorFaults(sources())])
  })

  test('comments keep the rules of prose', () => {
    expectNone(commentProseFaults(sources()))
  })

  test('no comment is wider than a hundred columns', () => {
    expectNone(wideComments(sources()))
  })

  test('no test is parked, and every test name states a fact', () => {
    expectNone(testFaults(sources()))
  })

  test('tests wait for signs, and not for times of their own', () => {
    expectNone(waitFaults(sources()))
  })
})

describe('sizes and names', () => {
  test('no file is longer than its budget', () => {
    expectNone(longFiles(sources()))
  })

  test('no function is longer than its budget', () => {
    expectNone(longFunctions(sources()))
  })

  test('lib holds fourteen files at most', () => {
    expectNone(crowdedLib(files))
  })

  test('no source lies deeper than three folders', () => {
    expectNone(deepFiles(files))
  })

  test('files are kebab-case and named for one thing', () => {
    expectNone(nameFaults(files))
  })
})

describe('documents', () => {
  test('every relative link resolves', () => {
    expectNone(documents().flatMap((file) => linkFaults(file, read(file))))
  })

  test('every path that is mentioned resolves', () => {
    expectNone(documents().flatMap((file) => pathFaults(file, read(file))))
  })

  test('every npm script that is mentioned exists', () => {
    const scripts = new Set(Object.keys(JSON.parse(read('package.json')).scripts))
    expectNone(documents().flatMap((file) => scriptFaults(file, read(file), scripts)))
  })

  test('prose keeps the rules of the house', () => {
    expectNone(documents().flatMap((file) => documentProseFaults(file, read(file))))
  })

  test('no line of prose is wider than a hundred columns', () => {
    expectNone(documents().flatMap((file) => widthFaults(file, read(file))))
  })

  test('the code map names every package and every folder of the server', () => {
    const text = read('ARCHITECTURE.md')
    const folders = files.flatMap((file) => [
      ...(file.match(/^packages\/[^/]+/) ?? []),
      ...(file.match(/^packages\/fabric\/src\/([^/]+\/)/)?.slice(1) ?? []),
    ])
    expectNone([...new Set(folders)].filter((folder) => !text.includes(`\`${folder}`)))
  })

  test('every engine has its row in the table of adapters', () => {
    const table = 'packages/fabric/src/adapters/README.md'
    expect(exists(table), `${table} is missing`).toBe(true)
    const engines = product().flatMap(
      ({ path }) => path.match(/fabric\/src\/adapters\/([^/]+)\//)?.[1] ?? [],
    )
    const text = read(table)
    expectNone([...new Set(engines)].filter((engine) => !text.includes(`\`${engine}/\``)))
  })
})

describe('refusals', () => {
  const page = read('docs/refusals.md')

  const wires: WireTables = { gateway: GATEWAY_WIRE, mesh: MESH_WIRE, queue: QUEUE_WIRE }

  test('every refusal is explained once, in the words that callers hear', () => {
    expectNone(pageFaults(page))
  })

  test('every refusal has a wire form on every transport', () => {
    expectNone(Object.entries(wires).flatMap(([name, table]) => missingRows(name, table)))
    expectNone([...statusFaults(wires), ...sharedNumbers(wires)])
  })

  test('the page gives the wire forms that the transports use', () => {
    expectNone(pageWireFaults(page, wires))
  })
})

describe('hygiene', () => {
  test("no file names a registry or a place on somebody's machine", () => {
    const machine = thisMachine(root, process.env)
    expectNone(textFiles.flatMap((file) => machineFaults(file, read(file), machine)))
  })

  test('no file names a person', () => {
    expectNone(textFiles.flatMap((file) => personFaults(file, read(file))))
  })

  test('no work is left without a number', () => {
    expectNone(
      textFiles
        .filter((file) => file !== 'package-lock.json')
        .flatMap((file) => leftoverFaults(file, read(file))),
    )
  })

  test('the five packages carry one version', () => {
    const names = ['protocol', 'sdk', 'demo', 'fabric', 'console']
    expectNone(
      versionFaults(names.map((name) => JSON.parse(read(`packages/${name}/package.json`)))),
    )
  })

  test('the lock file pins every package by hash, and none runs an install script', () => {
    expectNone(lockFaults(JSON.parse(read('package-lock.json')).packages))
  })
})

describe('attacks', () => {
  const present = files.flatMap((file) => file.match(/^test\/hostile\/(.+)\.test\.ts$/)?.[1] ?? [])

  test('every hostile test is named after an attack that a requirement lists', () => {
    expectNone(present.filter((name) => !ATTACKS.has(name)))
  })

  test('every attack that a requirement lists has a hostile test', () => {
    expectNone([...ATTACKS].filter((name) => !present.includes(name)))
  })
})
