-- Latest data: The hour that the real-time charts show, and how to start a stream when nothing arrives.
SELECT
    shown,
    stream
FROM serving.latest
ORDER BY shown
LIMIT 10
