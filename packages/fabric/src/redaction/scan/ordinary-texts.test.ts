import { expect, test } from 'vitest'
import { Refusal } from '../../lib/refusal.ts'
import { createRedactor } from './create-redactor.ts'

/*
 * Texts and documents as agents exchange them all day. They mention secrets, name them, declare
 * them and count them, and hold none: masking leaves every byte of them as it is.
 */
const redactor = createRedactor({ hashKey: new Uint8Array(32).fill(5) })

function mask(body: string, contentType: string): string {
  const order = { mask: ['credential'], block: [] }
  const answer = redactor.redact(new TextEncoder().encode(body), contentType, order)
  if (answer instanceof Refusal) throw new Error(`${answer.code} ${answer.detail}`)
  return new TextDecoder().decode(answer.body)
}

function expectSame(text: string): void {
  expect(mask(text, 'text/plain')).toBe(text)
  const body = JSON.stringify({ text })
  expect(mask(body, 'application/json')).toBe(body)
}

function expectSameJson(value: unknown): void {
  const body = JSON.stringify(value)
  expect(mask(body, 'application/json')).toBe(body)
  const nested = JSON.stringify({ a: body })
  expect(mask(nested, 'application/json')).toBe(nested)
}

test.each([
  'tool -p my-project-1 build',
  `kubectl -n web patch deploy x -p '{"spec":{"replicas":2,"name":"a1-b2"}}'`,
  'docker run -u 1000:1000 -p 8080:80 image',
  'mkdir -p build-2024/out',
  'ssh -p 2222 host',
  'python -u train_v2.py',
  'git push -u origin feature-1',
  'git push -u git@host.example:team/repository.git main',
  'nikto -u https://host.example:8443/path',
])('the command line %s', (text) => {
  expectSame(text)
  expectSameJson({ args: text.split(' ') })
})

const documents: Readonly<Record<string, string>> = {
  'a list of tools (MCP)': String.raw`
  {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"login","title":"Log in",
  "description":"Logs in with a password. The password must have 8 characters.",
  "inputSchema":{"type":"object","$schema":"https://json-schema.org/draft/2020-12/schema",
  "additionalProperties":false,"properties":{"username":{"type":"string"},
  "password":{"type":"string","title":"Password","description":"The password of the user",
  "minLength":8,"maxLength":128,"pattern":"^(?=.*[a-z])(?=.*\\d).{8,}$","format":"password",
  "writeOnly":true,"examples":["correct-horse-1"],"x-order":2},
  "api_key":{"anyOf":[{"type":"string"},{"type":"null"}],"default":null,"title":"Api Key"},
  "token":{"type":["string","null"],
  "description":"A token that you find under https://host.example/settings/tokens?tab=2"},
  "secret":{"$ref":"#/$defs/Secret","deprecated":true,"contentEncoding":"base64",
  "contentMediaType":"application/octet-stream"},"credentials":{"type":"object",
  "properties":{"client_id":{"type":"string"},"client_secret":{"type":"string",
  "nullable":true}},"required":["client_id","client_secret"],
  "additionalProperties":{"type":"string"}},"auth":{"oneOf":[{"type":"object",
  "properties":{"kind":{"const":"basic"}}},{"type":"object",
  "properties":{"kind":{"enum":["bearer","none"]}}}],"discriminator":{"propertyName":"kind",
  "mapping":{"basic":"#/components/schemas/Basic1"}}}},"required":["username","password"],
  "$defs":{"Secret":{"type":"string","title":"Secret"}}},"annotations":{"readOnlyHint":false,
  "destructiveHint":true},"outputSchema":{"type":"object",
  "properties":{"access_token":{"type":"string"},"token_type":{"type":"string",
  "const":"Bearer"}}}}],"nextCursor":"page-2"}}
  `,
  'a request to a model': String.raw`
  {"model":"gpt-4o-mini-2024-07-18","max_tokens":4096,"max_completion_tokens":1024,
  "messages":[{"role":"system","content":"You never reveal a password or a token."},
  {"role":"user","content":"How do I reset my password? My token is expired."}],
  "tools":[{"type":"function","function":{"name":"set_password",
  "description":"Sets the password","parameters":{"type":"object",
  "properties":{"new_password":{"type":"string"},"confirm_password":{"type":"string",
  "description":"Repeat the new password"}},"required":["new_password"],
  "additionalProperties":false},"strict":true}}],"tool_choice":{"type":"function",
  "function":{"name":"set_password"}},"logprobs":true,"temperature":0.2}
  `,
  'an answer of a model, with its usage': String.raw`
  {"id":"chatcmpl-abc123","object":"chat.completion","created":1732700000,
  "model":"gpt-4o-mini-2024-07-18","system_fingerprint":"fp_44709d6fcb",
  "choices":[{"index":0,"message":{"role":"assistant",
  "content":"Your password must contain at least 12 characters. Passwords are hashed.",
  "refusal":null},"logprobs":{"content":[{"token":"Your","logprob":-0.31,"bytes":[89,111,117,
  114],"top_logprobs":[{"token":" pass","logprob":-1.5,"bytes":[32,112]}]}]},
  "finish_reason":"stop"}],"usage":{"prompt_tokens":1532,"completion_tokens":94,
  "total_tokens":1626,"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},
  "completion_tokens_details":{"reasoning_tokens":64,"accepted_prediction_tokens":12345}}}
  `,
  'another request to a model': String.raw`
  {"model":"claude-sonnet-4-20250514","max_tokens":8192,"system":[{"type":"text",
  "text":"Keep every secret.","cache_control":{"type":"ephemeral"}}],
  "messages":[{"role":"user","content":[{"type":"text","text":"list api keys"}]}],
  "tools":[{"name":"get_secret","description":"Get a secret","input_schema":{"type":"object",
  "properties":{"secret_name":{"type":"string"},"secret":{"type":"string"}}}}],
  "thinking":{"type":"enabled","budget_tokens":2048}}
  `,
  'another answer of a model': String.raw`
  {"id":"msg_01XFDUDYJgAACzvnptvVoYEL","type":"message","role":"assistant",
  "content":[{"type":"tool_use","id":"toolu_01A09q90qw90lq917835lq9","name":"get_secret",
  "input":{"secret_name":"db"}}],"stop_reason":"tool_use","usage":{"input_tokens":2095,
  "cache_creation_input_tokens":188086,"cache_read_input_tokens":0,"output_tokens":503,
  "server_tool_use":{"web_search_requests":1}}}
  `,
  'an error of OAuth': String.raw`
  {"error":"invalid_token",
  "error_description":"The access token expired at 2026-11-27T10:00:00Z",
  "error_uri":"https://as.example/errors/invalid_token"}
  `,
  'metadata of an authorization server': String.raw`
  {"issuer":"https://as.example","token_endpoint":"https://as.example/token",
  "authorization_endpoint":"https://as.example/authorize",
  "token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post",
  "private_key_jwt"],"grant_types_supported":["authorization_code","password",
  "urn:ietf:params:oauth:grant-type:jwt-bearer"],
  "id_token_signing_alg_values_supported":["RS256","ES256"],
  "id_token_encryption_alg_values_supported":["RSA-OAEP-256","A256GCMKW"],
  "revocation_endpoint_auth_methods_supported":["client_secret_basic"],
  "code_challenge_methods_supported":["S256"],"dpop_signing_alg_values_supported":["ES256"],
  "subject_token_types_supported":["urn:ietf:params:oauth:token-type:access_token"]}
  `,
  'metadata of a protected resource': String.raw`
  {"resource":"https://mcp.example","authorization_servers":["https://as.example/tenant1"],
  "bearer_methods_supported":["header"]}
  `,
  'a token exchange that was refused': String.raw`
  {"error":"unsupported_grant_type","grant_type":"client_credentials",
  "token_type_hint":"refresh_token",
  "subject_token_type":"urn:ietf:params:oauth:token-type:access_token",
  "requested_token_type":"urn:ietf:params:oauth:token-type:access_token"}
  `,
  'a deployment of Kubernetes': String.raw`
  {"apiVersion":"apps/v1","kind":"Deployment",
  "spec":{"template":{"spec":{"serviceAccountName":"web1",
  "automountServiceAccountToken":false,"imagePullSecrets":[{"name":"regcred-2"}],
  "volumes":[{"name":"tls","secret":{"secretName":"tls-cert-1","defaultMode":420,
  "optional":false,"items":[{"key":"tls.key","path":"tls.key","mode":256}]}},{"name":"token",
  "projected":{"sources":[{"serviceAccountToken":{"path":"token","audience":"vault-1",
  "expirationSeconds":7200}},{"secret":{"name":"db-creds-1","items":[{"key":"username",
  "path":"my-group/my-username"}]}}]}}],"containers":[{"name":"web",
  "env":[{"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"name":"db-1",
  "key":"password"}}},{"name":"PASSWORD_FILE","value":"/run/secrets/db1"}],
  "envFrom":[{"secretRef":{"name":"all-secrets-1"}}]}]}}}}
  `,
  'a secret of Kubernetes without its data': String.raw`
  {"kind":"Secret","apiVersion":"v1","metadata":{"name":"db-creds-1",
  "annotations":{"cert-manager.io/secret":"x"}},"type":"kubernetes.io/tls"}
  `,
  'an ingress of Kubernetes': String.raw`
  {"kind":"Ingress","spec":{"tls":[{"hosts":["a.example"],"secretName":"tls-2024-a1"}]}}
  `,
  'a webhook about an alert': String.raw`
  {"action":"created","alert":{"number":42,"secret_type":"adafruit_io_key",
  "secret_type_display_name":"Adafruit IO Key","validity":"active"},
  "repository":{"id":1296269,"full_name":"octo/hello",
  "url":"https://api.host.example/repos/octo/hello","secret_scanning":{"status":"enabled"},
  "secret_scanning_push_protection":{"status":"enabled"},
  "security_and_analysis":{"secret_scanning":{"status":"disabled"},
  "secret_scanning_non_provider_patterns":{"status":"disabled"}},
  "keys_url":"https://api.host.example/repos/octo/hello/keys{/key_id}"},
  "sender":{"login":"octocat1","id":1,"type":"User","site_admin":false},
  "installation":{"id":5}}
  `,
  'the settings of a webhook': String.raw`
  {"hook":{"config":{"content_type":"json","insecure_ssl":"0","secret":"********",
  "url":"https://x.example/hook"},"events":["push","secret_scanning_alert"]}}
  `,
  'a plan of Terraform': String.raw`
  {"format_version":"1.2","terraform_version":"1.9.8",
  "planned_values":{"root_module":{"resources":[{"address":"aws_db_instance.main",
  "type":"aws_db_instance","name":"main","values":{"identifier":"db-1","password":null,
  "manage_master_user_password":true,
  "master_user_secret_kms_key_id":"arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
  "sensitive_values":{"password":true,"master_user_secret":[]}},
  {"address":"random_password.db","type":"random_password","values":{"length":16,
  "special":true,"min_lower":0}}]}},"resource_changes":[{"address":"random_password.db",
  "change":{"actions":["create"],"after_unknown":{"result":true,"bcrypt_hash":true}}}],
  "variables":{"db_password":{"value":null}},
  "configuration":{"root_module":{"variables":{"db_password":{"sensitive":true,
  "description":"Password of the database"}},
  "resources":[{"expressions":{"password":{"references":["random_password.db.result",
  "random_password.db"]},"secret_string":{"references":["var.db_password"]}}}]}}}
  `,
  'a lock file': String.raw`
  {"name":"x","lockfileVersion":3,"packages":{"node_modules/js-tokens":{"version":"4.0.0",
  "resolved":"https://registry.example/js-tokens/-/js-tokens-4.0.0.tgz",
  "integrity":"sha512-RdJUflcE3cUzKiMqQgsCu06FPu9UdIJO0beYbPhHN4k6apgJtpgRBpQtR5XNdB6yjTyUuDkWdZDM3HDJCCQlmQ==",
  "license":"MIT"},"node_modules/csrf-token":{"version":"1.2.3",
  "resolved":"https://registry.example/csrf-token-1.2.3.tgz","integrity":"sha512-abc123"},
  "node_modules/generate-password":{"version":"1.7.1","dev":true},
  "node_modules/auth-token":{"dependencies":{"access-token":"^2.1.0-beta.1",
  "api-key":"~1.0.0","secret":"^1.2.3"},"engines":{"node":">= 10"}}}}
  `,
  'a package and its dependencies': String.raw`
  {"dependencies":{"passport-jwt":"^4.0.1","@octokit/auth-token":"^5.1.1",
  "secure-password":"4.0.0","csrf-token":"1.2.3-rc.1","cookie":"^0.7.1","jwt":"0.2.0",
  "set-cookie":"^1.0.0","password":"^0.1.1","secret":">=1.2.3 <2"}}
  `,
  'an OpenAPI document': String.raw`
  {"openapi":"3.1.0","paths":{"/users/{id}/password":{"put":{"tags":["users v2"],
  "operationId":"setPassword","summary":"Sets the password","description":"Sets it.",
  "parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string",
  "format":"uuid"}}],
  "requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/PasswordChange"}}}},
  "responses":{"204":{"description":"Changed"},
  "422":{"description":"The password is too short"}},"security":[{"bearerAuth":[]},
  {"api_key":["write:users"]}]}},"/auth/token":{"post":{"operationId":"createToken",
  "tags":["auth v1"],"responses":{"200":{"description":"A token",
  "content":{"application/json":{"schema":{"type":"object",
  "properties":{"access_token":{"type":"string"},"expires_in":{"type":"integer",
  "example":3600},"refresh_token":{"type":"string"}}}}}}}}},
  "/secrets":{"get":{"x-rate-limit":"100 per minute","tags":["secrets store"],
  "parameters":[{"$ref":"#/components/parameters/Page1"}]}}},
  "components":{"securitySchemes":{"api_key":{"type":"apiKey","name":"X-API-Key",
  "in":"header"},"bearerAuth":{"type":"http","scheme":"bearer","bearerFormat":"JWT"},
  "oauth":{"type":"oauth2",
  "flows":{"clientCredentials":{"tokenUrl":"https://as.example/oauth/token",
  "scopes":{"read:x":"Read"}},"password":{"tokenUrl":"https://as.example/oauth2/token",
  "refreshUrl":"https://as.example/oauth2/refresh",
  "scopes":{"write:pets2":"modify pets"}}}}},"schemas":{"PasswordChange":{"type":"object",
  "properties":{"old_password":{"type":"string","format":"password"},
  "new_password":{"type":"string","format":"password","minLength":12}}}}}}
  `,
  'an agent card': String.raw`
  {"name":"agent","securitySchemes":{"apiKey":{"apiKeySecurityScheme":{"location":"header",
  "name":"X-Api-Key"}}},"security":[{"apiKey":[]}],
  "capabilities":{"pushNotifications":true}}
  `,
  'errors of a form': String.raw`
  {"errors":{"password":["is too short (minimum is 8 characters)","must contain a number"],
  "api_key":["is invalid"],"token":"expired"},"message":"Validation failed","status":422}
  `,
  'errors of a form by field': String.raw`
  {"errors":[{"field":"password","code":"too_short",
  "message":"Password must be at least 8 characters"},{"loc":["body","password"],
  "msg":"field required","type":"value_error.missing"}]}
  `,
  'errors of a schema': String.raw`
  {"detail":[{"type":"string_too_short","loc":["body","password"],
  "msg":"String should have at least 8 characters","input":"abc","ctx":{"min_length":8}}]}
  `,
  'errors as sentences': String.raw`
  {"errors":{"password":"Password must contain at least 8 characters"},
  "fieldErrors":{"password":"This field is required.",
  "confirmPassword":"Passwords do not match"}}
  `,
  'labels of a form': String.raw`
  {"login":{"password":"Password","forgotPassword":"Forgot password?",
  "confirmPassword":"Confirm password","newPassword":"New password",
  "oldPassword":"Old password","enterPassword":"Enter your password",
  "showPassword":"Show password","passwordHint":"At least 8 characters"}}
  `,
  'settings of sessions and passwords': String.raw`
  {"password_policy":{"min_length":12,"require_digits":true},"tokenLifetime":"15m",
  "session_token_ttl":3600,"password_expires_at":"2027-01-01","jwt":{"algorithm":"RS256",
  "expiresIn":"15m","issuer":"https://as.example"},"cookie":{"secure":true,"sameSite":"lax",
  "maxAge":86400,"path":"/"},"auth":{"type":"basic","enabled":true}}
  `,
  'pages and budgets of tokens': String.raw`
  {"items":[],"nextToken":null,"page_token":"","next_page_token":"","continuationToken":null,
  "tokens_used":1234,"token_budget":100000,"total-tokens":5}
  `,
  'limits of tokens': String.raw`
  {"usage":{"total_tokens":1234567,"tokens":12345},"rate":{"tokens":100000,
  "tokens_per_minute":90000},"headers":{"x-ratelimit-remaining-tokens":"149984",
  "x-ratelimit-limit-tokens":"150000"}}
  `,
  'a tokenizer': String.raw`
  {"pad_token":"[PAD]","eos_token":"</s>","bos_token":"<s>","unk_token":"<unk>",
  "additional_special_tokens":["<|im_start|>","<|im_end|>"],"model_max_length":2048,
  "added_tokens_decoder":{"0":{"content":"[PAD]","special":true}}}
  `,
  'public keys': String.raw`
  {"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
  "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","use":"sig","kid":"key-1",
  "alg":"ES256"}]}
  `,
  'settings of an editor': String.raw`
  {"contributes":{"configuration":{"properties":{"myext.apiKey":{"type":"string",
  "default":"","markdownDescription":"Your **API key**","scope":"machine","order":1},
  "myext.password":{"type":"string","scope":"application"}}}}}
  `,
  'rules of a linter': String.raw`
  {"rules":{"no-secrets/no-secrets":["error",{"tolerance":4.5}],"password":"off"}}
  `,
  'an environment with its directory': String.raw`
  {"PWD":"/srv/app/current","OLDPWD":"/srv","SHELL":"/bin/sh"}
  `,
  'fields of a form': String.raw`
  {"fields":[{"name":"password","type":"password","label":"Password",
  "placeholder":"Enter your password","required":true,"minLength":8,
  "autocomplete":"current-password"},{"id":"token","label":"Token",
  "helpText":"Copy it from settings, 2nd tab"}]}
  `,
  'an error of a tool': String.raw`
  {"content":[{"type":"text","text":"Error: invalid password: too short for user bob"}],
  "isError":true}
  `,
}

test.each(Object.entries(documents))('%s', (_, text) => {
  expectSameJson(JSON.parse(text))
  expect(mask(text, 'text/plain')).toBe(text)
})

const texts = [
  'class X448PrivateKey(ABC):\n    @classmethod\n    def generate(cls):\n',
  'docker login -u <username> -p <token-2> registry.example',
  'your password is required',
  'Your password is expired.',
  'Password is too short',
  'password: must be at least 8 characters',
  'token: invalid',
  'Token: expired',
  'password = getPassword()',
  'password: string',
  '"password":{"type":"string"}',
  '<password>',
  'password=${PASSWORD}',
  'password: ****',
  'password: ********',
  'password=null',
  'token=true',
  'secret: false',
  'password=""',
  'password:',
  'tokens: 1532',
  'max_tokens=4096',
  'token_count: 12',
  'nextToken: null',
  '<input id="password" class="form-control-1" type="password">',
  '#password-1 { color: #a1b2c3 }',
  '.token.keyword1 { color: #07a }',
  '.token-a1 .password2 > input:focus { margin: 0 }',
  'label[for="password"]::after { content: "*1" }',
  'Merge pull request #123 from octo/reset-password-2',
  'feat: password reset v2',
  'docs: secret rotation - part 2',
  "error TS2345: Argument of type 'string' is not assignable to parameter 'token'.",
  'npm warn deprecated js-tokens@4.0.0: use v5',
  'SyntaxError: Unexpected token \'<\', "<!DOCTYPE "... is not valid JSON',
  'Unexpected token } in JSON at position 42',
  '401 Unauthorized: token expired 3600s ago',
  'remote: Support for password authentication was removed on August 13, 2021.',
  'fatal: Authentication failed for https://host.example/x.git',
  'sudo: a password is required',
  'Enter password: ',
  'Password for jane: ',
  'password authentication failed for user "postgres"',
  'The token limit is 8192 tokens; your prompt has 9000 tokens.',
  'prompt tokens: 1532, completion tokens: 94, total tokens: 1626',
  'auth: bearer',
  'Authorization: Bearer <token>',
  'Authorization: Bearer $TOKEN',
  'curl -H "Authorization: Bearer $TOKEN" https://h',
  'curl -u "$USER:$PASS" https://h',
  'Set the API key in the X-API-Key header.',
  'secretKeyRef:\n  name: db-1\n  key: password',
  'secretName: tls-cert-2',
  'imagePullSecrets:\n  - name: regcred-2\n',
  'volumes:\n- name: v\n  secret:\n    secretName: db-1\n    items:\n    - key: a1b2c3\n',
  'password: !vault |\n',
  'password: !Ref DbPassword',
  'password = var.db_password',
  '  # password = random_password.db.result',
  '  + password = (sensitive value)',
  '      + password                = (known after apply)',
  '      ~ password = (sensitive value)',
  'secret = data.aws_secretsmanager_secret_version.db.secret_string',
  'const { password, token } = req.body',
  'interface A { password: string; token?: string | null }',
  'password?: string | undefined;',
  'readonly password: Readonly<K>;',
  'def login(self, password: str | None = None) -> None:\n    self.password = password\n',
  'def set_password(self, raw_password):\n        return make_password(raw_password)\n',
  'class InvalidToken(Error):\n    """The token is bad2."""\n',
  'for token in tokens:\n    value = token.strip()\n',
  'if not password:\n    raise ValueError("x")\n',
  'switch (x) {\n  case "password":\n    return { a: 1 }\n}',
  'func (s *S) Password() string {\n\treturn s.password\n}',
  'public String getPassword() { return password; }',
  'private static final String TOKEN = null;',
  'let token: Option<String> = None;',
  'fn password(&self) -> Result<String, Error> {',
  'passwd: bytes, salt: bytes',
  '* @param {string} password The password of 8 or more2 signs',
  '    :param password: the password to use',
  '    :type token: str',
  'headers["Authorization"] = f"Bearer {self.access_token}"',
  'headers: { Authorization: `Bearer ${token}` }',
  'Authorization: `token ${process.env.GITHUB_TOKEN}`',
  'const token = await getToken()',
  'const secret = new TextEncoder().encode(process.env.JWT_SECRET)',
  'apiKey: config.get("apiKey")',
  'password: faker.internet.password()',
  'expect(user.password).toBeUndefined()',
  'token ||= undefined',
  'credentials: credentials ?? null',
  'privateKey: fs.readFileSync("key.pem")',
  'assert(token.type === "x")',
  'yarn add passport-jwt@4.0.1',
  'pip install pyjwt==2.9.0',
  'js-tokens: 4.0.0',
  '  js-tokens@^4.0.0:\n    version "4.0.0"\n',
  '"js-tokens": "^4.0.0",',
  'csrf-token: ^1.2.3',
  'password: [REDACTED]',
  'password: <redacted>',
  'password: (hidden)',
  '"password": "***"',
  'token: xxxxxxxx',
  'api_key: sk-...',
  'API_KEY=your-api-key',
  'API_KEY=<your api key>',
  'PASSWORD=changeme',
  'OPENAI_API_KEY=sk-xxxxxxxx',
  'TOKEN=...',
  'pass: 12, fail: 3',
  'PASS test/auth/token.test.ts (2.1 s)',
  'pass test1.ts',
  '--- PASS: TestPassword (0.00s)',
  'ok 3 - token is refreshed',
  'PIN_A1 = 13',
  'pin 13 is the LED',
  'gpio pin: 17',
  'GET /user/secrets HTTP/1.1',
  'POST /oauth/token 200 12ms',
  '/etc/passwd',
  'cat /etc/passwd | grep root',
  'passwd: password updated successfully',
  'ssh-keygen -t ed25519',
  'Set-Cookie: theme=dark; Max-Age=31536000; Path=/; SameSite=Lax',
  'Cookie: theme=dark',
  '<h1>Authorization Failed</h1>',
  '[Private Key Export](docs/key/export2.md)',
  'pass `--verbose2` to it',
  'pass {error:true} to it',
  'password must match /^[a-z0-9]+$/',
  'The secret is {@link Secret2}.',
  'Passwords: see docs',
  'see password-reset.html#step-2',
  'https://h.example/reset-password?step=2',
  'https://h.example/oauth2/token?grant_type=password',
  'Your PIN must have 4 digits',
  'Enter the 6-digit code',
  'session token lifetime: 15m',
  'Access token TTL: 3600',
  'token bucket: 100 per second',
  'Rate limit: 150000 tokens',
  'secret sharing (Shamir, 3 of 5)',
  'a secret message',
  'keep it secret: do not tell',
  'the secret to success is work',
  'credentials: include',
  'auth: none',
  'auth: true',
  'security: []',
  'security:\n  - api_key: []\n',
  '      api_key:\n        type: apiKey\n        name: X-API-Key\n',
  '  password:\n    type: string\n    minLength: 8\n',
  '  password:\n    description: The password, v2 or later\n',
  'password:\n  min_length: 12\n',
  'tokens:\n  - id: 1\n',
]

test.each(texts)('the text %j', (text) => {
  expectSame(text)
})

const comparisons = [
  'if(password==confirm){',
  'if(a.password==b.password2)submit()',
  'if($password==$confirm){',
  "if ($row['password']==$row['password2']) {",
  'if(secret==null||x)',
  'if(token===undefined)return',
  'return password==other&&x1',
  'var a=b;password==c?1:2',
  'n.token===r?1:2',
  'e.auth===n.auth2&&t',
  'if(pin==0x1f)',
  'while(token==TK_2X)',
  'if(o.apiKey===t.keys[0])',
  'if(e.password==e.target.value)',
  'secretKey==a[i1]',
  'password==""',
  'if(hash(password)!==stored2x)',
  'django-password==3.0.1',
  'keyring-credentials==2.0b1',
  '$password=~s/\\n//g;',
  '$password =~/^[a-z0-9]+$/i',
  'if($pass=~m#a1b2#){',
  '$token=~$form;',
  'PRIVATE_KEY=~/.ssh/id_ed25519',
  'credentials=~/.aws/credentials',
  'password <<= 2',
  'password=<<EOF',
  'password:\n  [\n    x1,\n',
  'password:\n  { "type": 1 }',
  'password: | # a comment\nnext: x',
  'tool --password -x1 --verbose',
]

test.each(comparisons)('the comparison or reference %j', (text) => {
  expectSame(text)
})

test.each([
  'def f(\n    key: PrivateKey,\n) -> PrivateKey:\n    body = load(key)\n    return body\n',
  'Ask with the access token::\n\n    POST /token HTTP/1.1\n    Host: h.example\n\nand go on.',
])('the lines %j', (text) => {
  expectSame(text)
})

const names = [
  ...['.token', '#password', 'div.token', 'a#secret', '.x-token', 'input[name="password"]'],
  ...["[for='password']", '.btn-secret', 'input.password', '.hljs .token.auth'],
]
const states = [
  ...['hover', 'focus-within', ':before', ':after', 'not(.x)', 'nth-child(2n + 1)', 'first-child'],
  ...['focus:hover', 'disabled', '-webkit-autofill', 'is(a, b)', 'hover > a', 'hover .icon'],
  ...['active + label', 'placeholder', 'read-only'],
]
const blocks = [
  ...[
    ' {\n  color: red;\n}',
    '{color:red}',
    ', .b {\n  margin: 0 }',
    ',\n.c:focus {\n  top: 1px }',
  ],
  ...[' { }', ' { &:x { a: b } }', '{--a-b:1px}', '{\n\n  /* c */ }', '{ @include x; }'],
]

test.each(names)('rules of CSS for %j in any state', (name) => {
  for (const state of states)
    for (const block of blocks) expectSame(`a {}\n${name}:${state}${block}`)
})

test.each([
  '#password {color:red;margin:0}',
  '.token { }',
  '/etc/passwd:root:x:0:0:root:/root:/bin/bash',
  'grep -n root /etc/passwd\n/etc/passwd:1:root:x:0:0:root:/root:/bin/bash',
  '/etc/passwd: No such file or directory',
  'cp /etc/passwd /tmp/x1y2',
  'docker run -v /etc/passwd:/etc/passwd2:ro image',
  'path: /etc/passwd\ncontent: root:x:0:0:root:/root:/bin/bash',
  'token = /* the first */ next()',
  'Instead of `autospec=True` you can pass `autospec=some_object`',
])('the text of a style sheet or a shell %j', (text) => {
  expectSame(text)
})
