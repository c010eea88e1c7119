import type { Head } from '../reading/head.ts'

/**
 * Whether a browser sends this on behalf of a page from elsewhere. Browsers show a certificate on
 * any page's behalf, so a certificate alone does not say that its holder meant this request.
 */
export function comesFromForeignPage({ headers, authority }: Head): boolean {
  const site = headers.get('sec-fetch-site')
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true
  const origin = headers.get('origin')
  return origin !== undefined && origin !== `https://${authority}`
}
