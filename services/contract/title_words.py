"""The words of titles. Pure: a table.

Never reorder, replace or add a word: each change renames pieces that people remember. No word is in both lists, and no
word names people, bodies, creeds or colours of skin, so that no pair can offend.
"""

from __future__ import annotations

from typing import Final

ADJECTIVES: Final = tuple(
    """
    adrift aglow airborne airy alabaster alluvial aloft alpine amber ambient ambrosial amiable ample anchored
    ancient antique apricot april aquatic arboreal arcadian arched arctic argent aromatic artful ascending ashen
    aspen astral atlantic attentive auburn august auroral autumn awakening azure balanced balmy balsamic baltic
    basalt basking bayside beaming becalmed beloved benign beryl billowing birchen birdlike blanketed blended
    blessed blithe blooming blossoming blossomy blue blueberry blurred blushing bordered boreal botanic boundless
    bountiful bracing braided branching brave breathing breezy bright brimful brimming brisk bronze brookside
    brushed bubbling budding buoyant burnished cadent calm calming candid candlelit canopied carefree carved
    cascading cavernous celadon celestial cerulean chambray chanting charming cheerful cherished chiming circling
    circular citrus civil clear clement cloistered clouded cloudless cloudy clustered coastal cobalt cobbled
    cocooned comforting composed congenial considerate constant content contented convivial cool cooling copper
    coral cordial corduroy cosmic courteous courtly cradled crescent crested crimson crisp crowned crystalline
    cultivated curious curling curved curving cushioned cyan dainty damson dappled daring dawning daydreaming daylit
    debonair deciduous decorous deep delicate delightful denim descending devoted dewy diamond diffuse dignified
    dimpled discerning distant diurnal domed dotted dovelike downy dozing dreaming dreamlike dreamy drifted drifting
    drowsy dulcet dusky dusty eager early earthen earthy easeful eastern easy ebbing echoing edgeless effortless
    elder elegant elemental elevated eloquent embossed embroidered emerald enchanted endless enduring enfolded
    engraved enlightened enriched equable equatorial etched ethereal euphonic evergreen everlasting expansive
    exquisite fabled faded fading faint fair faithful familiar fanciful faraway feathered feathery february ferny
    festive festooned fiery filigree filtered fine finespun firelit flaxen fleecy fleeting flickering flinty
    floating floral flowering flowery flowing fluent fluid fluted fluttering foamy foggy folded fond foraging
    forested forgiving forthright fortunate fragile fragrant frank freckled free frescoed fresh friendly frilled
    fringed frosted frosty frugal fruitful fuchsia furled gallant garlanded gauzy generous genial genteel gentle
    gifted gilded gingham glacial glad gladdened gladsome glassy glazed gleaming gliding glimmering glinting
    glistening glittering glossy glowing gossamer graceful gracious gradual grand granite grassy grateful gravelly
    green greening grounded growing guiding halcyon hallowed handmade handsome handwoven handy happy hardy harmonic
    harmonious hazy healing heartening heartfelt hearty heathered heavenly hedged heliotrope heraldic herringbone
    hidden hilly homely homespun homeward honest honeycombed honeyed hopeful horizontal hospitable hovering humble
    hushed iced icy ideal idle idyllic illumined imagined immaculate immense incandescent indigo infinite inky inner
    inspired interlaced intertwined inviting inward ionic iridescent ivied ivory jade january jasper jaunty jocund
    jolly jovial joyful joyous jubilant july june keen kind kindled kindly kindred knitted knotted known
    labyrinthine lacy laden lakeside lambent lamplit languid lapis lasting latticed laughing lavender leafy leaning
    leaping learned leeward legendary leisurely lemony lenient lettered level lighthearted lightsome lilac lilting
    lilylike limelit limestone limpid linear linen lingering lissome listening little littoral lively living loamy
    lofted lofty long looping lovely lowland loyal lucent lucid lucky lulling luminous lunar lush lustrous lyric
    lyrical magical mahogany majestic marble marine maritime maroon marshy matte mauve meadowy meandering measured
    meditative mellifluous mellow melodic melodious melting merciful merry midnight midsummer midwinter mighty mild
    milky mindful mint mirrored mirthful misted misty modest moonless moonlike moonlit mossy moving mulled murmuring
    musical musing muslin muted mutual mystic mythic nacreous narrow natural nautical navy near neat nebulous
    nestled nestling new nightlong nimble noble nocturnal northern northward november nurturing oaken oceanic
    oceanside october offshore old olden olive onyx opal opalescent opaline open orange orbital ordered ornamental
    ornate outer outward overcast overgrown pacific painted palatial pale papery parallel pastel pastoral patched
    patient patterned paved peaceable peaceful peach pealing pearl pearlescent pearly pebbled pebbly pensive
    peppermint perennial perfumed periwinkle piney pistachio placid plain plainspoken plaintive planetary platinum
    playful pleasant pliant plum plush poetic poised polar polished polyphonic pondering porcelain pouring powdered
    precious prevailing prismatic pristine prosperous proud prudent pure purple purring quaint quick quicksilver
    quiescent quiet quieting quilted quivering radial radiant raftered rainwashed rainy rambling ranging rapt rare
    redwood refined reflected reflective refreshing regal relaxed remembered remote renewed renowned reposing
    resolute resonant resplendent restful resting restored returning reverent revolving rhythmic ribboned rich
    rilling ringed ringing rippled rippling riverine riverside roaming robust rocking rolling romantic rooted
    roseate rosewood rosy round rounded roving royal ruby ruffled rugged rural russet rustic rustling saffron sage
    sailing salted salty sandstone sandy sapphire satin satiny scarlet scattered scenic scented scrolled sculpted
    seaborn seafaring seagoing seamless seaside seasonal seasoned seaward secluded secret sedate seeking selfless
    sentinel sequoia serene serious settled settling shaded shadowed shadowy shallow sheer sheltered sheltering
    shifting shimmering shimmery shy sienna sighing silent silken silky silver silvered silvery simmering simple
    sincere singing single sinuous sisal sketched skyborne skyward slate sleek sleeping sleepy slender sloping slow
    slowing slumbering small smiling smooth snowbound snowlit snowy snug soaring sociable soft softened solar solemn
    solid solitary solstitial songful sonorous soothing soulful sounding southern southward spacious spangled spare
    sparkling sparse speckled spectral spellbound spherical spiced spinning splendid spontaneous spotless spreading
    sprightly springing starlike starlit starry starward stately steadfast steady stellar still stirring stitched
    stoic stony storied storybook streaming streamside strewn stringed striped strolling strong sturdy sublime
    subtle suede suffused sugared summery sunbaked sunbright sunburst sunlit sunny sunward supple sure surefooted
    swaying sweeping sweet swift swirling swishing sylvan symmetric symphonic tall tangerine tawny teal temperate
    tempered tender terraced tessellated textured thankful thatched thawing thoughtful thriving thrumming tidal
    tideless tidy timeless timely tinkling tinted tiny toasted tolerant tonal topaz towering tranquil translucent
    treasured treelined trellised tremulous trickling trilling trim true trusted trusting trusty tufted tundral
    tuned tuneful turning turquoise tweed twilit twining twinkling twirling ultramarine umber unbounded unbroken
    unclouded undimmed undulating unending unerring unfading unfolding unfurled unfurling unhurried unruffled
    unspoiled unspoken untold untroubled unwavering unwinding unworried upland uplifted upright upward upwelling
    urbane useful valiant vanilla vanishing varied vast vaulted veiled velvet velvety venerable verdant vermilion
    vernal vesper vespertine vibrant vigilant vintage violet vital vivid volcanic voyaging waiting wakeful waking
    wandering waning warbling warm warming watchful waterside watery wavelike waving wavy wayfaring wayside
    weathered weaving weightless welcome welcoming welling wellspun western westward whimsical whirling whispered
    whispering wholesome wide wild willing willowy windborne winding windless windswept windy winged winsome winter
    wintering wintry wise wishful wispy wistful wondering wondrous wooden woodsy woolen worthy woven wreathed
    yearning yonder zealous zenithal zephyrous zestful
    """.split()  # noqa: SIM905 - a thousand quotation marks hide the words
)
"""The first words of titles: a thousand, in lower case."""

NOUNS: Final = tuple(
    """
    acacia acanthus accordion acorn adagio adobe aerie afterglow afternoon air alcove alder alley almanac almond
    alpenglow alphabet altitude amaranth amethyst anchor andante anemone anise annex anthem anthology antler apple
    aqueduct arc arcade arch archipelago archway aria arpeggio arrival ash aster asteroid atelier atlas atoll atrium
    aubade aurora avenue avocet axis azalea balcony ballad ballet balloon balsam bamboo banjo bark basil basin
    bassoon bay beach beacon bead beam beech belfry bell belvedere bergamot berry billow birch birdsong blanket
    blossom bluebell bluebird bobolink bonfire book bookshop borage bough boulder bouquet bower bowl bracken braid
    bramble branch bread breeze briar bridge brook bubble buckwheat bulrush buoy burrow buttercup butterfly byroad
    byway cabin cadence cadenza caldera calendar calico camellia campanile campfire canal candle canoe canopy
    cantata canticle canto canvas canyon cape capella caprice caravan cardamom carillon carnation carousel cascade
    casement castle catalpa catamaran catkin causeway cavern cedar celesta cello chaconne chaffinch chalet chalk
    chamomile chandelier chapel chart chestnut chime chimney chorale chord chorus chrysalis cinder cinnamon cipher
    circle circuit clarinet clarion clavichord clay clef clematis cliff clock cloister cloud clover coast cobble
    cocoon coda colonnade column comet compass concerto conch confluence constellation coppice corner cornet
    cornfield cornice corridor cottage cotton cottonwood counterpoint courtyard cove cradle crater creek crescendo
    cricket crocus crossing crown cupola curlew current cushion cymbal cypress daffodil dahlia daisy dale damask
    dance dandelion dapple day daybreak daylight deer dell desert dew diadem diary distance ditty dome door doorway
    dormer dory dove dovecote dragonfly drawbridge dream driftwood drizzle drum duet dune dusk earth east eaves ebb
    echo eclipse eddy edelweiss edge elegy elm ember encore equinox estuary eucalyptus evening fable falcon fanfare
    farmhouse farmland farmstead feather felt fen fennel fermata fern ferry festival fiddle field finale finch fir
    firefly fireside flame flax fleece flight flora flower flute foam fog foghorn foliage folio folklore footbridge
    foothill footpath ford foreshore forest forge fountain fox foxglove fragrance freesia fresco frieze frost fugue
    furrow gable galaxy galleon gallery galliard garden gardenia garland gate gatehouse gateway gavotte gazebo
    gentian geyser ginkgo glacier glade glass gleam glen glimmer glissando glockenspiel glow goldfinch gong gorge
    gorse grain granary grass grasshopper greenwood grotto grove guitar gulf gull halo hamlet hammock harebell
    harmonica harmony harp harvest hawk hawthorn hayfield hayloft haystack haze hazel headland hearth heath heather
    hedge hedgerow heirloom helix hemisphere heron hibiscus highland hill hillside hilltop hollow hollyhock home
    homestead honeysuckle horizon hour hourglass house hummock hyacinth hydrangea hymn ibis iceberg icicle idyll
    impromptu ink inkwell inlet inn interlude intermezzo interval iris island isle islet isthmus ivy jasmine jay
    jetty jewel jonquil journal journey jubilee juniper kaleidoscope keepsake kelp kestrel kettle key keystone kiln
    kingfisher kite knoll koto lace lacework ladder lagoon lake lakeshore lamp lamplight landfall landing landscape
    lane lantern lapwing larch lark larkspur lattice laurel lawn leaf ledge legato legend lemon lens library lichen
    light lighthouse lily lime linden line linnet loch locket lodestar loft loggia longitude loom loon lotus lullaby
    lupin lute lynx lyre lyrebird madrigal magnolia mainsail mallow mandala mandolin manor mantle map maple margin
    marigold marimba marina marlin marsh matinee mazurka meadow meadowlark measure medallion medley melody memory
    meridian mesa meteor metronome midday mile milestone mill millpond millrace millstream mimosa minuet mirage
    mirror mist mistral moment monsoon moon moonbeam moonflower moonlight moonrise moonstone moorland morning mosaic
    moss moth motif mountain mulberry murmur musette music myrtle narcissus nasturtium nebula nectar nest nettle
    niche nightfall nightingale nimbus nocturne noon north note notebook novella nutmeg oak oar oasis oat obelisk
    oboe ocean octave octet ode opera orb orbit orchard orchestra orchid oregano origami oriole osprey otter
    overture owl oxbow oxeye paddle paddock pagoda palace palette palm panda panorama paper papyrus parasol
    parchment park parsley partita pass passacaglia passage pasture patchwork path pathway patio pavane pavilion
    pear pebble pelican pendulum peninsula pennant penny peony pergola peridot petal petunia phoenix phrase piano
    picnic pier pillow pine pinecone pinnacle pinwheel pipit planet plateau platform plaza plover plume poem poet
    polka pollen polonaise pond pool poplar poppy porch portal porthole portico postcard prairie prelude primrose
    prism promenade promise promontory psalm puddle puffin quadrille quail quarry quartet quartz quay quill quilt
    quince quintet rain rainbow raindrop rainfall rambler ravine ray reed reef reel refrain refuge relay reservoir
    retreat reverie rhapsody rhyme ribbon riddle ridge rill ripple rise river riverbank rivulet road robin rondo
    rookery room root rose rosemary rotunda route rowan rowboat rush rye sail salt salvia sand sandbar sandpiper
    sapling sarabande satellite saxifrage scale scarf scene scherzo schooner scroll sea seagull seal seashell
    seashore season seaway sequence serenade serenata sextant sextet shade shadow shallows shawl sheaf shelf shell
    shelter shingle shoal shore shoreline sierra signal signpost silence silhouette silk sitar skein sketch skiff
    sky skylark skylight skyline sleigh slumber snapdragon snow snowbank snowdrop snowfall snowflake solace solo
    solstice sonata song songbird sonnet sorrel sound south space spark sparrow spectrum spell sphere spindle spinet
    spiral spire sprig spring springtime spruce spyglass stair staircase stairway stanza star stardust starfall
    starfish starflower starlight starling station steam steeple steppe stepstone stile stone stonework stork story
    strait strand straw stream street string studio suite summer summerhouse summit sun sunbeam sundial sunflower
    sunlight sunrise sunset surf swan sycamore symphony tabla table tambourine tapestry tarantella tarn tea teacup
    teahouse teapot telescope temple tempo tern terrace theorem thicket thimble thistle thread threshold thunder
    thyme tide tideline tidepool tile timber timbrel time timpani toboggan toccata tome tower town trail treble tree
    treeline treetop trellis trestle tributary trill trio triplet trove trumpet tulip tundra tuning tunnel turnstile
    turret turtle twig twilight twine ukulele umbrella undertone unicorn vale valley valse vase veil veranda verbena
    vernier verse vessel vestibule viaduct vibraphone view vignette villa village vine vineyard viola violin vista
    voice volcano voyage wagtail walk walnut waltz warbler watch water waterfall waterlily waterline watermark
    watermill watershed waterway wave wavelength waxwing way weather weathervane weave weir well west wheat
    wheatfield wheel wheelhouse whirl whisper whistle wicket wildflower willow windmill window windowsill wing wisp
    wisteria wonder woodcut woodland woodlark woodpecker woodwind wool word world wreath wren xylophone yard yarn
    yarrow year yew zenith zephyr zinnia zither
    """.split()  # noqa: SIM905 - as above
)
"""The second words of titles: a thousand others, in lower case."""
