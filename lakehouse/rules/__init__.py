"""Rules in YAML: parsed with line numbers, their conditions checked by Spark's analyzer."""
