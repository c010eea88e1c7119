import { type CredentialRule, prefixed } from './credential-rule.ts'

/** Formats that announce themselves by a prefix, as their issuers document them. */
export const PREFIX_RULES: readonly CredentialRule[] = [
  prefixed(
    'countersign-key',
    { prefixes: ['csk_'], alphabet: 'url', min: 20 },
    { positives: ['csk_{43}', 'key: csk_{24}.'], negatives: ['csk_{8}', 'xcsk_{43}'] },
  ),
  prefixed(
    'aws-access-key-id',
    { prefixes: ['AKIA', 'ASIA', 'ABIA', 'ACCA'], alphabet: 'upper', min: 16, max: 16 },
    {
      positives: ['AKIA{16U}', 'id=ASIA{16U},'],
      negatives: ['AKIAIOSFODNN7EXAMPLE', 'AKIA{20U}', 'ASIATISCH'],
    },
  ),
  prefixed(
    'gcp-api-key',
    { prefixes: ['AIza'], alphabet: 'url', min: 35, max: 35 },
    { positives: ['AIza{35}', '?key=AIza{35}&'], negatives: ['AIza{20}', 'AIza{50}'] },
  ),
  prefixed(
    'gcp-oauth-secret',
    { prefixes: ['GOCSPX-'], alphabet: 'url', min: 28, max: 28 },
    { positives: ['GOCSPX-{28}', '"GOCSPX-{28}"'], negatives: ['GOCSPX-{9}', 'GOCSPX-{60}'] },
  ),
  prefixed(
    'gcp-access-token',
    { prefixes: ['ya29.'], alphabet: 'dotted', min: 40 },
    { positives: ['ya29.{60}', 'ya29.a0{120}'], negatives: ['ya29.{10}', 'maya29.{60}'] },
  ),
  prefixed(
    'github-token',
    { prefixes: ['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'], alphabet: 'alnum', min: 36 },
    {
      positives: ['ghp_{36}', 'x-access-token:ghs_{36}@'],
      negatives: ['ghp_{20}', 'ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'],
    },
  ),
  prefixed(
    'github-fine-grained-token',
    { prefixes: ['github_pat_'], alphabet: 'word', min: 60 },
    {
      positives: ['github_pat_{22}_{59}', '(github_pat_{82})'],
      negatives: ['github_pat_{22}', 'github_pattern_{60}'],
    },
  ),
  prefixed(
    'gitlab-token',
    {
      prefixes: [
        'glpat-',
        'gldt-',
        'glrt-',
        'glptt-',
        'glsoat-',
        'glcbt-',
        'glimt-',
        'glagent-',
        'glft-',
      ],
      alphabet: 'url',
      min: 20,
    },
    { positives: ['glpat-{20}', 'glrt-{24}'], negatives: ['glpat-{8}', 'glpat-short'] },
  ),
  prefixed(
    'slack-token',
    {
      prefixes: ['xoxb-', 'xoxp-', 'xoxa-', 'xoxr-', 'xoxs-', 'xoxe-', 'xoxc-', 'xapp-'],
      alphabet: 'url',
      min: 24,
    },
    {
      positives: ['xoxb-{12d}-{12d}-{24}', 'xapp-1-{11}-{12d}-{40h}'],
      negatives: ['xoxb-{6}', 'xoxb-your-token'],
    },
  ),
  prefixed(
    'stripe-key',
    { prefixes: ['sk_live_', 'sk_test_', 'rk_live_', 'rk_test_'], alphabet: 'alnum', min: 16 },
    { positives: ['sk_live_{24}', 'rk_test_{99}'], negatives: ['sk_live_{6}', 'task_live_{24}'] },
  ),
  prefixed(
    'webhook-secret',
    { prefixes: ['whsec_'], alphabet: 'base64', min: 24 },
    { positives: ['whsec_{32}', 'whsec_{40}'], negatives: ['whsec_{8}', 'xwhsec_{32}'] },
  ),
  prefixed(
    'anthropic-key',
    { prefixes: ['sk-ant-'], alphabet: 'url', min: 40 },
    {
      positives: ['sk-ant-api03-{93}AA', 'sk-ant-admin01-{80}'],
      negatives: ['sk-ant-api03-{9}', 'task-ant-{60}'],
    },
  ),
  prefixed(
    'openai-key',
    { prefixes: ['sk-proj-', 'sk-svcacct-', 'sk-admin-', 'sk-None-'], alphabet: 'url', min: 40 },
    {
      positives: ['sk-proj-{74}T3BlbkFJ{74}', 'sk-svcacct-{48}'],
      negatives: ['sk-proj-{12}', 'ask-proj-{60}'],
    },
  ),
  prefixed(
    'openai-style-key',
    { prefixes: ['sk-'], alphabet: 'alnum', min: 32 },
    { positives: ['sk-{48}', 'OPENAI_API_KEY=sk-{32h}'], negatives: ['sk-{12}', 'disk-{48}'] },
  ),
  prefixed(
    'openrouter-key',
    { prefixes: ['sk-or-v1-'], alphabet: 'hex', min: 64, max: 64 },
    {
      positives: ['sk-or-v1-{64h}', 'key sk-or-v1-{64h}'],
      negatives: ['sk-or-v1-{20h}', 'sk-or-v1-{80h}'],
    },
  ),
  prefixed(
    'model-provider-key',
    {
      prefixes: ['gsk_', 'xai-', 'pplx-', 'r8_', 'fw_', 'nvapi-', 'hf_', 'tgp_v1_'],
      alphabet: 'url',
      min: 34,
    },
    { positives: ['gsk_{52}', 'hf_{34}'], negatives: ['hf_{12}', 'half_{52}'] },
  ),
  prefixed(
    'npm-token',
    { prefixes: ['npm_'], alphabet: 'alnum', min: 36, max: 36 },
    { positives: ['npm_{36}', '_authToken=npm_{36}'], negatives: ['npm_config_cache', 'npm_{20}'] },
  ),
  prefixed(
    'pypi-token',
    { prefixes: ['pypi-AgE'], alphabet: 'url', min: 60 },
    {
      positives: ['pypi-AgEIcHlwaS5vcmc{70}', 'pypi-AgENdGVzdC5weXBp{80}'],
      negatives: ['pypi-AgE{9}', 'pypi-server-{60}'],
    },
  ),
  prefixed(
    'rubygems-key',
    { prefixes: ['rubygems_'], alphabet: 'hex', min: 48, max: 48 },
    {
      positives: ['rubygems_{48h}', ':rubygems_{48h}'],
      negatives: ['rubygems_{10h}', 'rubygems_{64h}'],
    },
  ),
  prefixed(
    'docker-token',
    { prefixes: ['dckr_pat_', 'dckr_oat_'], alphabet: 'url', min: 27 },
    {
      positives: ['dckr_pat_{27}', 'dckr_oat_{32}'],
      negatives: ['dckr_pat_{9}', 'xdckr_pat_{27}'],
    },
  ),
  prefixed(
    'sendgrid-key',
    { prefixes: ['SG.'], alphabet: 'dotted', min: 66, max: 66, contains: '.' },
    { positives: ['SG.{22}.{43}', 'k=SG.{22}.{43}'], negatives: ['SG.{22}', 'MSG.{22}.{43}'] },
  ),
  prefixed(
    'shopify-token',
    { prefixes: ['shpat_', 'shpca_', 'shppa_', 'shpss_'], alphabet: 'hexBoth', min: 32, max: 32 },
    { positives: ['shpat_{32h}', 'shpss_{32h}'], negatives: ['shpat_{12h}', 'shpat_{40h}'] },
  ),
  prefixed(
    'grafana-token',
    { prefixes: ['glsa_', 'glc_'], alphabet: 'word', min: 32 },
    { positives: ['glsa_{32}_{8h}', 'glc_{64}'], negatives: ['glsa_{8}', 'xglsa_{41}'] },
  ),
  prefixed(
    'digitalocean-token',
    { prefixes: ['dop_v1_', 'doo_v1_', 'dor_v1_'], alphabet: 'hex', min: 64, max: 64 },
    { positives: ['dop_v1_{64h}', 'doo_v1_{64h}'], negatives: ['dop_v1_{32h}', 'dop_v1_{70h}'] },
  ),
  prefixed(
    'vault-token',
    { prefixes: ['hvs.', 'hvb.', 'hvr.'], alphabet: 'url', min: 24 },
    { positives: ['hvs.{90}', 'hvb.{120}'], negatives: ['hvs.{9}', 'ahvs.{90}'] },
  ),
  prefixed(
    'databricks-token',
    { prefixes: ['dapi'], alphabet: 'hex', min: 32, max: 32 },
    { positives: ['dapi{32h}', 'token dapi{32h}'], negatives: ['dapi{12h}', 'dapi{40h}'] },
  ),
  prefixed(
    'atlassian-token',
    { prefixes: ['ATATT3', 'ATCTT3', 'ATBB'], alphabet: 'url', min: 28 },
    { positives: ['ATATT3xFfGF0{150}', 'ATBB{32}'], negatives: ['ATATT3{9}', 'FLATBB{32}'] },
  ),
  prefixed(
    'saas-token',
    {
      prefixes: [
        'lin_api_',
        'ntn_',
        'figd_',
        'NRAK-',
        'sntrys_',
        'pscale_tkn_',
        'tskey-',
        'nfp_',
        'sbp_',
        'PMAK-',
        'EAAAl',
        'sq0atp-',
        'sq0csp-',
        'pul-',
        'dp.pt.',
        'tfp_',
        'rnd_',
        'ddp_',
        'cfut_',
        'secret_ntn',
      ],
      alphabet: 'url',
      min: 22,
    },
    { positives: ['lin_api_{40}', 'NRAK-{27U}'], negatives: ['lin_api_{8}', 'sntrys_{6}'] },
  ),
  prefixed(
    'age-secret-key',
    { prefixes: ['AGE-SECRET-KEY-1'], alphabet: 'upper', min: 58, max: 58 },
    {
      positives: ['AGE-SECRET-KEY-1{58U}', '# AGE-SECRET-KEY-1{58U}'],
      negatives: ['AGE-SECRET-KEY-1{8U}', 'AGE-SECRET-KEY-1{70U}'],
    },
  ),
]
