-- Bytes of the index of an entry's capture, by which its packets are found; none where there is no index.
ALTER TABLE entries ADD COLUMN index_bytes INTEGER;
