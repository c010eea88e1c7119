import { readPrivateFile } from '../adapters/file/secret-private-file.ts'
import type { PasswordPlace } from '../config/password-place.ts'
import { readNamed } from '../lib/named-path.ts'

/** All authorities of an operating system together are smaller. */
const caBytesMax = 4 * 1024 * 1024

/** Returns the authorities (PEM) of the certificate of an engine; null for those of the system. */
export function readCa(path: string | null): string | null {
  return path === null ? null : Buffer.from(readNamed(path, caBytesMax)).toString('utf8')
}

/** Returns the password of an engine, empty for servers that ask for none. */
export async function readPassword(place: PasswordPlace): Promise<string> {
  switch (place.from) {
    case 'nowhere':
      return ''
    case 'environment':
      return place.value
    case 'file': {
      const bytes = await readPrivateFile(place.path)
      if (bytes === null) throw new Error(`${place.path} does not exist`)
      // Editors end a file with a newline that is not part of the password.
      return Buffer.from(bytes)
        .toString('utf8')
        .replace(/\r?\n$/, '')
    }
  }
}
