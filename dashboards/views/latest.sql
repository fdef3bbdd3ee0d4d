-- Until when the real-time charts have data, whether synthetic complaints are among it, and what to do when nothing
-- more arrives. One row.
SELECT
    l.scored_at AS latest_decision,
    CASE WHEN l.scored_at IS NULL THEN 'no data yet'
         ELSE 'the hour up to ' || substr(CAST(l.scored_at AS STRING), 1, 16) || ' UTC'
              || CASE WHEN l.synthetic_at > l.scored_at - INTERVAL 1 HOUR THEN ', synthetic complaints included'
                      ELSE '' END END AS shown,
    CASE WHEN l.scored_at IS NULL
         THEN 'No stream is running: start one with `complaints live` (sample complaints) or `complaints stream`. They '
              || 'need a model: `complaints demo` or `complaints train` makes one.'
         WHEN l.scored_at < now() - INTERVAL 10 MINUTES
         THEN 'Nothing has been decided since. If no stream is running, start one with `complaints live` (sample '
              || 'complaints) or `complaints stream`.'
         ELSE 'Decisions arrive, or did within the last ten minutes.' END AS stream
FROM (
    SELECT max(d.scored_at) AS scored_at, max(CASE WHEN d.is_synthetic THEN d.scored_at END) AS synthetic_at
    FROM gold.decisions AS d
) AS l
