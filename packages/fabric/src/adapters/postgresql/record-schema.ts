/**
 * Each collection has one row of `record_count`, which every write locks first: writers of one
 * collection take turns, and sequences are given under that lock, so that they are in commit order.
 * Keys and owners may be longer than an entry of an index, which therefore holds their hash.
 */
export const recordTables = (s: string): string => `
  CREATE TABLE ${s}.record_count (
    collection text PRIMARY KEY, size bigint NOT NULL, sequence bigint NOT NULL
  );
  CREATE TABLE ${s}.record_owner (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection text NOT NULL, hash bytea NOT NULL, name text NOT NULL, size bigint NOT NULL,
    UNIQUE (collection, hash)
  );
  CREATE INDEX ON ${s}.record_owner (collection, size);
  CREATE TABLE ${s}.record (
    collection text NOT NULL, sequence bigint NOT NULL, hash bytea NOT NULL, key text NOT NULL,
    owner bigint NOT NULL, value text NOT NULL, expires_at timestamptz NOT NULL,
    PRIMARY KEY (collection, sequence), UNIQUE (collection, hash)
  );
  CREATE INDEX ON ${s}.record (owner, sequence);
  CREATE INDEX ON ${s}.record (collection, expires_at);
  ${steps(s)}
  ${addition(s)}
  ${writes(s)}
  ${batch(s)}
`

const begin = 'LANGUAGE plpgsql SET search_path = pg_catalog AS'

/** Within a call of `writes`. */
const steps = (s: string): string => `
  CREATE FUNCTION ${s}.record_lock(c text) RETURNS void ${begin} $$
  BEGIN
    INSERT INTO ${s}.record_count VALUES (c, 0, 0) ON CONFLICT DO NOTHING;
    PERFORM FROM ${s}.record_count WHERE collection = c FOR UPDATE;
  END $$;

  CREATE FUNCTION ${s}.record_drop(r ${s}.record) RETURNS void ${begin} $$
  BEGIN
    DELETE FROM ${s}.record WHERE collection = r.collection AND sequence = r.sequence;
    IF NOT FOUND THEN RETURN; END IF;
    UPDATE ${s}.record_owner SET size = size - 1 WHERE id = r.owner;
    DELETE FROM ${s}.record_owner WHERE id = r.owner AND size = 0;
    UPDATE ${s}.record_count SET size = size - 1 WHERE collection = r.collection;
  END $$;

  -- Null, and deleted, once it is expired: its key can then be added anew.
  CREATE FUNCTION ${s}.record_present(c text, k text) RETURNS ${s}.record ${begin} $$
  DECLARE r ${s}.record;
  BEGIN
    SELECT * INTO r FROM ${s}.record
      WHERE collection = c AND hash = sha256(convert_to(k, 'UTF8'));
    IF NOT FOUND THEN RETURN NULL; END IF;
    IF r.expires_at > clock_timestamp() THEN RETURN r; END IF;
    PERFORM ${s}.record_drop(r);
    RETURN NULL;
  END $$;
`

/** Beyond a bound, a new record takes the place of an older one, as the port describes. */
const addition = (s: string): string => `
  CREATE FUNCTION ${s}.record_add(
    c text, k text, v text, o text, ends timestamptz, all_max bigint, own_max bigint
  ) RETURNS void ${begin} $$
  DECLARE
    r ${s}.record; account bigint; share bigint; total bigint; place bigint;
  BEGIN
    INSERT INTO ${s}.record_owner (collection, hash, name, size)
      VALUES (c, sha256(convert_to(o, 'UTF8')), o, 1)
      ON CONFLICT (collection, hash) DO UPDATE SET size = record_owner.size + 1
      RETURNING id, size INTO account, share;
    UPDATE ${s}.record_count SET size = size + 1, sequence = sequence + 1 WHERE collection = c
      RETURNING size, sequence INTO total, place;
    INSERT INTO ${s}.record VALUES (c, place, sha256(convert_to(k, 'UTF8')), k, account, v, ends);
    IF share > own_max THEN
      SELECT * INTO r FROM ${s}.record WHERE owner = account ORDER BY sequence LIMIT 1;
      PERFORM ${s}.record_drop(r);
      total := total - 1;
    END IF;
    IF total > all_max THEN
      SELECT id INTO account FROM ${s}.record_owner WHERE collection = c ORDER BY size DESC LIMIT 1;
      SELECT * INTO r FROM ${s}.record WHERE owner = account ORDER BY sequence LIMIT 1;
      PERFORM ${s}.record_drop(r);
    END IF;
  END $$;
`

/**
 * Carries out commands in their order, and returns an answer to each. One call is one transaction,
 * so that a batch takes one round trip under its locks, which are taken in one order.
 */
const batch = (s: string): string => `
  CREATE FUNCTION ${s}.record_write(commands jsonb) RETURNS boolean[] ${begin} $$
  DECLARE
    x jsonb; done boolean; answers boolean[] := '{}';
  BEGIN
    PERFORM ${s}.record_lock(c) FROM (
      SELECT DISTINCT e->>'collection' AS c FROM jsonb_array_elements(commands) e ORDER BY c
    ) locked;
    FOR x IN SELECT e FROM jsonb_array_elements(commands) WITH ORDINALITY AS t(e, n) ORDER BY n LOOP
      IF x->>'kind' = 'put' THEN
        done := ${s}.record_put(
          x->>'collection', x->>'key', x->>'value', x->>'owner', (x->>'lifetimeMs')::bigint,
          x ? 'expected', x->>'expected', (x->>'countMax')::bigint, (x->>'perOwnerMax')::bigint
        );
      ELSE
        done := ${s}.record_remove(x->>'collection', x->>'key', x->>'expected');
      END IF;
      answers := answers || done;
    END LOOP;
    RETURN answers;
  END $$;
`

/** Each locks its collection, also on its own. */
const writes = (s: string): string => `
  CREATE FUNCTION ${s}.record_put(
    c text, k text, v text, o text, life_ms bigint, is_expected boolean, expected text,
    all_max bigint, own_max bigint
  ) RETURNS boolean ${begin} $$
  DECLARE
    r ${s}.record; ends timestamptz;
  BEGIN
    PERFORM ${s}.record_lock(c);
    r := ${s}.record_present(c, k);
    IF is_expected AND r.value IS DISTINCT FROM expected THEN RETURN false; END IF;
    ends := clock_timestamp() + life_ms * interval '1 millisecond';
    IF r.sequence IS NULL THEN
      PERFORM ${s}.record_add(c, k, v, o, ends, all_max, own_max);
    ELSE
      UPDATE ${s}.record SET value = v, expires_at = ends
        WHERE collection = c AND sequence = r.sequence;
    END IF;
    RETURN true;
  END $$;

  CREATE FUNCTION ${s}.record_remove(c text, k text, expected text) RETURNS boolean ${begin} $$
  DECLARE r ${s}.record;
  BEGIN
    PERFORM ${s}.record_lock(c);
    r := ${s}.record_present(c, k);
    IF r.sequence IS NULL OR r.value <> coalesce(expected, r.value) THEN RETURN false; END IF;
    PERFORM ${s}.record_drop(r);
    RETURN true;
  END $$;

  CREATE FUNCTION ${s}.record_sweep(c text, rows_max integer) RETURNS integer ${begin} $$
  DECLARE r ${s}.record; dropped integer := 0;
  BEGIN
    PERFORM ${s}.record_lock(c);
    FOR r IN SELECT * FROM ${s}.record WHERE collection = c AND expires_at <= clock_timestamp()
      ORDER BY expires_at LIMIT rows_max
    LOOP
      PERFORM ${s}.record_drop(r);
      dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
  END $$;
`
