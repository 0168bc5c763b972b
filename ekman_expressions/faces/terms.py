"""On which terms databases may be used, in our own words, and who gives them out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Terms of use of a database. Only the owners' own text is binding.

    Attributes
    ----------
    use : str
        What its owners ask of users, as far as we know.
    access : str
        Whom to ask for a copy.
    reference : str
        What to cite.
    """

    use: str
    access: str
    reference: str


SYNTHETIC = Terms(
    use="public domain (CC0): rendered faces of nobody",
    access="comes with the package",
    reference="this package, see CITATION.cff",
)

CKPLUS = Terms(
    use="non-commercial research after a signed agreement; copies are not passed on; faces are shown only "
    "of persons who agreed to that (its documentation names them)",
    access="J. F. Cohn, University of Pittsburgh: http://www.jeffcohn.net/Resources/",
    reference="Lucey et al., The Extended Cohn-Kanade Dataset (CK+), CVPR Workshops 2010",
)

JAFFE = Terms(
    use="non-commercial scientific research; copies are not passed on; each publication cites the source",
    access="by request, following the instructions at https://zenodo.org/record/3451524",
    reference="Lyons, Akamatsu, Kamachi, Gyoba, Coding Facial Expressions with Gabor Wavelets, FG 1998",
)

WSEFEP = Terms(
    use="non-commercial scientific use, free of charge",
    access="by request at http://www.emotional-face.org",
    reference="Olszanowski et al., Warsaw Set of Emotional Facial Expression Pictures, Frontiers in "
    "Psychology 5:1516, 2015",
)

BU4DFE = Terms(
    use="research after an agreement with the university; copies are not passed on; ask which faces may be "
    "shown",
    access="L. Yin, Binghamton University: https://www.cs.binghamton.edu/~lijun/Research/3DFE/",
    reference="Yin, Chen, Sun, Worm, Reale, A High-Resolution 3D Dynamic Facial Expression Database, FG 2008",
)

FEGA = Terms(
    use="as agreed with its owners; its file names hold people's names, which this package never writes",
    access="the authors of the study, UGIVIA group, Universitat de les Illes Balears "
    "(https://arxiv.org/abs/2401.11835)",
    reference="Gaya-Morey et al., Unveiling the Human-like Similarities of Automatic Facial Expression "
    "Recognition, 2024",
)

OWN = Terms(
    use="yours to know: the persons' consent, and the licence of the images",
    access="your own folder",
    reference="as its owner asks",
)
