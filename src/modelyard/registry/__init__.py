"""From bytes to a version: what is uploaded, checked, looked at, and only then numbered.

``upload`` takes the list of files, says which of them are not known yet, and receives those;
nothing is visible until all of it is there. ``versions`` lets ``analyze`` say what the files are,
refuses what would execute code without being trusted, and adds the version with its ``readme``;
``compare`` sets two versions beside each other. Bytes that no upload and no version refers to any more
are collected here too.
"""
