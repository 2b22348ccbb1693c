"""Several JSON reports of one suite as one run: shards that several machines ran."""
