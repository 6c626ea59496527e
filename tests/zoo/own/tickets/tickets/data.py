"""Customer tickets: what they say decides the department, how they say it the priority."""

import numpy as np

WORDS = {
    "billing": ["invoice", "refund", "charged", "card", "receipt"],
    "network": ["router", "wifi", "cable", "signal", "latency"],
    "account": ["password", "login", "email", "profile", "locked"],
}
URGENCY = ["please", "soon", "today", "urgent", "now"]


def load(source=None, tickets=1000):
    del source
    random = np.random.default_rng(11)
    department = random.choice(list(WORDS), tickets)
    level = random.integers(0, len(URGENCY), tickets)
    titles = []
    for name, urgency in zip(department, level, strict=True):
        words = [*random.choice(WORDS[name], 3), URGENCY[urgency], "the", "my"]
        titles.append(" ".join(random.permutation(words)))
    weekday = random.integers(0, 7, tickets)
    priority = 2.0 * level + 0.1 * weekday + random.normal(0, 0.2, tickets)
    return {
        "title": np.array(titles, dtype=object),
        "weekday": weekday,
        "priority": priority,
        "department": department.astype(object),
    }
