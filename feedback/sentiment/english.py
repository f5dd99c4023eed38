"""English words and how they feel, from -3 to 3; a star stands for any ending."""

WORDS: dict[float, str] = {
    3.0: """
        amazing* awesome* best brilliant* excellent* exceptional* fantastic* flawless* love loved loves loving
        magnificent marvellous marvelous outstanding perfect perfectly superb* terrific thrilled wonderful* wow
    """,
    2.0: """
        adore* appreciat* beautiful* congrat* convenient* cool delight* ease easier easily easy elegant* enjoy*
        excited exciting fast faster fastest favorite* favourite* friendly fun glad good gratef* great greatly handy
        happier happily happy helped helpful* impress* intuitive* kudos lovely neat nice nicely nicer pleasant*
        pleased pleasing pleasure praise* quick quicker quickly recommend recommended recommends reliabl* satisf*
        seamless* sleek smart smooth* snappy sweet thank thankful thankfully thanks thx useful* worth yay
    """,
    1.2: """
        accurate* advantage* affordable better bonus bright clean cleaner clear clearer clearly comfortable comfy
        correct correctly crisp durable effective* efficient* effortless* enhanc* fixed fixes glorious gorgeous
        haha* improve improved improvement* improves improving interesting liked likes lol nailed polished powerful
        pretty resolved respons* rich robust sharp simpler solid solved stable sturdy succeed* success* superior
        support supportive tidy upgrade well win winner wins
    """,
    0.8: "fine hope hopefully ok okay simple work worked working works",
    -0.8: """
        alas cannot cant can't complicated couldn't couldnt down hard hm hmm lengthy old outdated return returned
        weird
    """,
    -1.2: """
        absurd concern* damn delay* den denied deny disconnect* duplicat* expensive fault faulty forced hell
        insecur* interrupt* issue issues lack lacking lacks leak leaked leaking leaks limited miss misses noisy odd
        refuse* reject* sad sadly scary sorry strange timed timeout* unable unclear unexpected* unfortunate*
        vulnerab* warning weak
    """,
    -1.6: """
        avoid bother* clumsy clunky complain* complaint* cumbersome difficult* error errors flicker* forget* glitch*
        hassle* hiccup* impossible inaccurat* inconsisten* incorrect* kill killed kills mistake* outage* overload*
        problem* scratch* stop stopped stops stuck trouble* unhelpful unnecessar* unneeded vanish* wrong wrongly
    """,
    -2.0: """
        anger angry annoy* bad badly break breaking breaks broke broken bug bugged buggy bugs confus* corrupt*
        crash* cried cry dead defect* degrad* died dies disappear* disappoint* dislike* dumb fail failed failing
        fails failure* failures fear* flaw* flimsy freez* froze frozen frustrat* grief grrr* hang hanging hangs hung
        ignored incompeten* infuriat* irritat* joke lag lagging laggy lags lame lose loses losing lost mess messed
        messy missing nasty negligen* nonsens* overpriced pain painful* poor poorer poorly regress* regression*
        ridiculous* rude screwed sick silly slow slowed slower slowest slowly slows sluggish spam spammy stupid*
        tedious* tired ugh ugly unhappy unreliab* unrespons* unstable upset* worried worry worse worsen*
    """,
    -3.0: """
        abysmal appalling atrocious awful* bullshit catastroph* crap* disaster* disgrace* disgust* dreadful fuck*
        garbage hate hated hates hating horrend* horribl* horrif* idiot* junk nightmare* pathetic pointless rubbish
        scam* shit* suck sucked sucks terribl* trash unacceptable unusable useless* waste wasted wasting worst
        worthless wtf
    """,
}

NEGATIONS = """
    ain't aint aren't arent didn't didnt doesn't doesnt don't dont hadn't hardly hasn't hasnt haven't havent isn't
    isnt lacks neither never no nobody none nor not nothing nowhere rarely scarcely seldom shouldn't wasn't wasnt
    weren't without won't wont wouldn't wouldnt
"""

# What is said of how much: the next word weighs more, or less.
LOUDER = """
    absolutely absurdly amazingly awfully completely constantly deeply enormously entirely especially every
    extremely fully highly hugely incredibly insanely often particularly quite really remarkably so such super
    terribly totally truly unbelievably utterly very way
"""
SOFTER = "almost barely bit fairly kinda less little mildly occasionally partly slightly somewhat"

# A wish praises nothing: "it would be nice".
WISHES = "could should would might wish if"

BUT = "but however although though yet except"

# Turns of phrase, over lower-case words without punctuation.
PHRASES: tuple[tuple[str, float], ...] = (
    (r"no longer", -1.6),
    (r"stopped working", -1.0),
    (r"(?:does|do|did|is|are|was|has|have|will)(?: not|n't|nt) (?:\w+ )?work(?:s|ed|ing)?", -1.6),
    (r"not working", -1.6),
    (r"(?:takes?|took|taking) (?:\w+ )?\d+ (?:s|sec|secs|seconds?|min|mins|minutes?|hours?)", -1.6),
    (r"(?:takes?|took|taking) (?:ages|forever|too long)", -2.0),
    (r"waste of (?:time|money)", -1.0),
    (r"log(?:s|ged|ging)? (?:me|us) out", -1.2),
    (r"keeps? \w+ing", -0.5),
    (r"(?:charged|billed|paid) twice", -2.0),
    (r"too (?:\w+ )?(?:big|bright|complex|dark|expensive|few|heavy|large|late|little|long|loud)", -1.2),
    (r"too (?:\w+ )?(?:many|much|short|small)", -1.2),
    (r"thumbs up", 2.0),
    (r"thumbs down", -2.0),
    (r"well done", 1.5),
    (r"(?:nice|great|good) (?:job|work)", 0.8),
    (r"keep (?:it|this|that) up|keep up the", 2.0),
    (r"(?:can't|cannot|can not|cant) wait", 2.4),
    (r"look(?:ing)? forward", 1.2),
    (r"(?:i|we|really|also|would|actually) like (?:the|this|that|it|how|your|to)", 1.2),
    (r"works? (?:like a charm|great|fine|perfectly|well|again)", 1.2),
    (r"(?:piece|load) of", -0.8),
    (r"what the (?:hell|heck)", -1.5),
    (r"give up|giving up|gave up", -1.5),
    (r"fed up", -2.5),
)
