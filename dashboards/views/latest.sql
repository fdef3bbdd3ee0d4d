-- Until when the real-time charts have data, and what to do when nothing more arrives. One row.
SELECT
    l.scored_at AS latest_decision,
    CASE WHEN l.scored_at IS NULL THEN 'no data yet'
         ELSE 'the hour up to ' || substr(CAST(l.scored_at AS STRING), 1, 16) || ' UTC' END AS shown,
    CASE WHEN l.scored_at IS NULL
         THEN 'No stream is running: start one with `complaints live` (sample complaints) or `complaints stream`. They '
              || 'need a model: `complaints demo` or `complaints train` makes one.'
         WHEN l.scored_at < now() - INTERVAL 10 MINUTES
         THEN 'Nothing has been decided since. If no stream is running, start one with `complaints live` (sample '
              || 'complaints) or `complaints stream`.'
         ELSE 'Decisions arrive, or did within the last ten minutes.' END AS stream
FROM (SELECT max(d.scored_at) AS scored_at FROM gold.decisions AS d) AS l
