-- Records of syncs that were deleted while one of their pages was being stored: nothing could see them any more, and
-- nothing would ever delete them. One index probe per stream.
DO $$
DECLARE
    stream integer;
BEGIN
    SELECT min(stream_id) INTO stream FROM records;
    WHILE stream IS NOT NULL LOOP
        IF NOT EXISTS (SELECT 1 FROM streams WHERE id = stream) THEN
            DELETE FROM records WHERE stream_id = stream;
        END IF;
        SELECT min(stream_id) INTO stream FROM records WHERE stream_id > stream;
    END LOOP;
END $$;
