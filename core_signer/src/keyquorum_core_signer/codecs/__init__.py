"""A party's side of its codec workers: one confined process per pinned codec, and no belief in what it answers."""
