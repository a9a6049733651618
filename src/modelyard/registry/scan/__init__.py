"""What could execute in an upload, named with where it lies; found without executing anything.

``scanner`` runs ``worker`` in a process of its own, which can read what is handed to it and nothing else
(``jail``); ``forks`` has it forked from a ``template``. ``walk`` goes through a file and whatever lies in it; ``kinds`` has one file for each kind of
content, with ``NAME``, ``looks(view)`` and ``scan(view, walk)``. Adding one is adding a file and its line in
``kinds``. ``safety`` keeps the verdicts and says what follows from them; ``clamav`` speaks to a virus scanner.
"""
