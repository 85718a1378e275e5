"""The words that the synthetic English is made of."""

WOMEN = (
    "Mary Alice Anna Emma Clara Julia Laura Sarah Emily Jane Kate Lucy Rose Amy Ruth Helen "
    "Nina Olivia Grace Diana Susan Linda Eva Martha"
).split()
MEN = (
    "John James Tom David Paul Peter Mark George Henry Jack Simon Martin Daniel Adam Robert "
    "Frank Oliver Victor Sam Leo Max Dan Sid Walter"
).split()
NAMES = sorted([*WOMEN, *MEN])
RARE_NAMES = ["Bartholomew", "Persephone", "Thaddeus", "Wilhelmina", "Ignatius", "Rosalind"]

PLACES = (
    "store shops park school house garden station office market beach library museum theater "
    "church hospital farm river harbor village restaurant"
).split()
GIFTS = [
    *("a drink", "the bag", "the ball", "a book", "an apple", "a letter", "the key", "a gift"),
    *("a flower", "a coin", "the map", "a pen", "a hat", "a cup", "the ring", "an orange"),
]
ADJECTIVES = "old new big small nice clean heavy light warm cold quiet strange".split()
MOODS = "tired happy hungry late sad sick busy bored".split()
COLORS = "red blue green black white yellow brown pink gray purple".split()
THINGS = "ball cup box car door chair table lamp shirt bike boat house flag wall bowl".split()

LANDMARKS = {
    "Eiffel Tower": "Paris",
    "Louvre Museum": "Paris",
    "Notre Dame": "Paris",
    "Colosseum": "Rome",
    "Trevi Fountain": "Rome",
    "Pantheon": "Rome",
    "Big Ben": "London",
    "Tower Bridge": "London",
    "Buckingham Palace": "London",
    "Brandenburg Gate": "Berlin",
    "Television Tower": "Berlin",
    "Sagrada Familia": "Barcelona",
    "Prado Museum": "Madrid",
    "Royal Palace": "Madrid",
    "Acropolis": "Athens",
    "Parthenon": "Athens",
    "Kremlin": "Moscow",
    "Red Square": "Moscow",
    "Opera House": "Sydney",
    "Harbour Bridge": "Sydney",
    "Blue Mosque": "Istanbul",
    "Hagia Sophia": "Istanbul",
    "Forbidden City": "Beijing",
    "Skytree Tower": "Tokyo",
    "Senso Temple": "Tokyo",
    "Charles Bridge": "Prague",
    "Little Mermaid": "Copenhagen",
    "Space Needle": "Seattle",
    "Belem Tower": "Lisbon",
    "Rialto Bridge": "Venice",
    "Uffizi Gallery": "Florence",
    "Leaning Tower": "Pisa",
    "Hofburg Palace": "Vienna",
    "Van Gogh Museum": "Amsterdam",
    "Atomium": "Brussels",
    "White House": "Washington",
    "Lincoln Memorial": "Washington",
    "Liberty Bell": "Philadelphia",
    "Willis Tower": "Chicago",
    "Chain Bridge": "Budapest",
    "Wawel Castle": "Krakow",
    "Vasa Museum": "Stockholm",
    "Munch Museum": "Oslo",
    "Merlion": "Singapore",
    "Pearl Tower": "Shanghai",
    "Burj Khalifa": "Dubai",
}
"""Landmark -> its city."""

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "England": "London",
    "Germany": "Berlin",
    "Spain": "Madrid",
    "Greece": "Athens",
    "Russia": "Moscow",
    "China": "Beijing",
    "Japan": "Tokyo",
    "Austria": "Vienna",
    "Portugal": "Lisbon",
    "Hungary": "Budapest",
    "Sweden": "Stockholm",
    "Norway": "Oslo",
    "Denmark": "Copenhagen",
    "Belgium": "Brussels",
    "Poland": "Warsaw",
    "Finland": "Helsinki",
    "Ireland": "Dublin",
    "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "Peru": "Lima",
    "Cuba": "Havana",
    "Canada": "Ottawa",
    "Chile": "Santiago",
    "Turkey": "Ankara",
    "Iran": "Tehran",
    "Iraq": "Baghdad",
    "Korea": "Seoul",
    "Thailand": "Bangkok",
    "Vietnam": "Hanoi",
    "Bulgaria": "Sofia",
    "Romania": "Bucharest",
    "Iceland": "Reykjavik",
    "Mongolia": "Ulaanbaatar",
    "Madagascar": "Antananarivo",
}
"""Country -> its capital."""

CITIES = sorted({*LANDMARKS.values(), *CAPITALS.values()})
RARE_WORDS = ["Reykjavik", "Ulaanbaatar", "Antananarivo", "Philadelphia", "Madagascar", *RARE_NAMES]
"""Words that the tokenizer must split into several tokens."""

HEADS = {
    "key": "keys",
    "book": "books",
    "picture": "pictures",
    "letter": "letters",
    "road": "roads",
    "song": "songs",
    "friend": "friends",
    "teacher": "teachers",
    "child": "children",
    "dog": "dogs",
    "answer": "answers",
    "window": "windows",
    "story": "stories",
    "player": "players",
}
"""Subjects of agreement, singular -> plural."""

DISTRACTORS = {
    "cabinet": "cabinets",
    "house": "houses",
    "table": "tables",
    "garden": "gardens",
    "river": "rivers",
    "king": "kings",
    "city": "cities",
    "tree": "trees",
    "teacher": "teachers",
    "doctor": "doctors",
    "town": "towns",
    "school": "schools",
}
"""Nouns between subject and verb, singular -> plural."""

PREPOSITIONS = ["to", "near", "behind", "of", "beside", "from"]
VERBS = [("is", "are"), ("was", "were"), ("has", "have"), ("does", "do")]
"""Singular and plural forms."""

SPANS = "war trip project battle strike festival journey siege mission exhibition".split()
"""What lasts from one year to another."""
