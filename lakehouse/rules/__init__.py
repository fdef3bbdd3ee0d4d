"""Rules as YAML: read with their lines, and their conditions checked by Spark's analyzer."""
