import fc from 'fast-check'

/**
 * Set up before every test file. The same inputs in every run, so that a failure is about the
 * change at hand; `npm run properties` looks for new ones, and prints the seed of those that fail.
 */
const seed = Number(process.env['PROPERTY_SEED'] ?? 20_261_127)
if (!Number.isSafeInteger(seed)) throw new TypeError('PROPERTY_SEED is a whole number')
fc.configureGlobal({ seed })
